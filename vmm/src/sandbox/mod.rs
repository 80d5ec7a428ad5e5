//! What a machine's process cannot do once its guest runs.
//!
//! Whoever breaks out of the guest, through a bug of a device or of the mediator, is then in a
//! process that
//!
//! - has its files open already, and can open no others, nor make sockets or start programs
//!   ([`filters`]: seccomp, one list of system calls for each kind of thread);
//! - has no capabilities and can gain none;
//! - in a [`jail`], sees no files, processes or network of the host, and is nobody there.
//!
//! A system call outside of the list is not made. The machine ends, and says which call it was.

pub mod filters;
pub mod jail;

use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicI64, Ordering};

use thiserror::Error;

use crate::end::{End, Ending};

/// How far a machine's process is shut in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Level {
    /// In a jail where the host allows one, else without.
    #[default]
    Auto,
    /// In a jail, or the machine does not start.
    Jail,
    /// No capabilities, and only the system calls that a machine needs.
    Seccomp,
    /// Not at all; for looking into the machine's process.
    Off,
}

impl Level {
    /// As the command line has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Jail => "jail",
            Self::Seccomp => "seccomp",
            Self::Off => "off",
        }
    }
}

/// Why a machine's process could not be shut in.
#[derive(Debug, Error)]
pub enum SandboxError {
    /// A step failed.
    #[error("shutting the machine's process in: {step}")]
    Step {
        /// What was being done.
        step: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The filter of system calls could not be made.
    #[error("shutting the machine's process in: filtering system calls")]
    Filter(#[from] seccompiler::Error),
    /// The filter of system calls could not be made.
    #[error("shutting the machine's process in: filtering system calls")]
    Backend(#[from] seccompiler::BackendError),
}

fn step<T, E: Into<io::Error>>(
    step: &'static str,
    result: Result<T, E>,
) -> Result<T, SandboxError> {
    result.map_err(|source| SandboxError::Step {
        step,
        source: source.into(),
    })
}

/// The result of a system call that is -1 on failure.
fn done(result: libc::c_long) -> io::Result<()> {
    match result {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// The first system call that was not allowed, plus one; 0 if there was none.
static VIOLATION: AtomicI32 = AtomicI32::new(0);
/// Its first argument.
static ARGUMENT: AtomicI64 = AtomicI64::new(0);
/// Descriptor of the event that wakes whoever looks for the machine's end.
static WAKE: AtomicI32 = AtomicI32::new(-1);

/// How the machine ends if its process made a system call that it may not make.
pub fn violation() -> Option<Ending> {
    match VIOLATION.load(Ordering::Acquire) {
        0 => None,
        number => Some(Ending::Failed(format!(
            "the process made system call {} ({:#x}, …), which its sandbox forbids: a bug of Weir, \
             or an attack on it",
            number - 1,
            ARGUMENT.load(Ordering::Relaxed)
        ))),
    }
}

/// Shuts a mediator's process in, all of whose threads run, and wakes `end` when it makes a call that
/// it may not make. [`give_up`] went before.
pub fn enter_mediator(end: &Arc<End>, level: Level) -> Result<(), SandboxError> {
    if level == Level::Off {
        log::warn!("the mediator's process is not shut in");
        return Ok(());
    }
    catch_violations(end)?;
    filters::apply(filters::Class::Mediator)
}

/// Gives up all privileges, for this thread and those that it will start.
pub fn give_up() -> Result<(), SandboxError> {
    drop_capabilities()?;
    let none = rustix::thread::set_no_new_privs(true);
    step("forbidding new privileges", none)
}

/// Shuts this process in, which has one thread. Threads that it starts are shut in as it is.
pub fn enter(end: &Arc<End>, level: Level) -> Result<(), SandboxError> {
    match level {
        Level::Off => {
            log::warn!("the machine's process is not shut in");
            return Ok(());
        }
        Level::Seccomp => {}
        Level::Jail => jail::leave().and_then(jail::enter)?,
        Level::Auto => match jail::leave() {
            Ok(left) => jail::enter(left)?,
            Err(error) => log::warn!(
                "no jail for the machine's process, only a filter of system calls: {}",
                crate::cli::chain(&error)
            ),
        },
    }
    give_up()?;
    catch_violations(end)?;
    filters::apply(filters::Class::Main)
}

/// Restricts this thread, which runs a processor, further, if the process is shut in.
pub fn enter_processor() -> Result<(), SandboxError> {
    match WAKE.load(Ordering::Acquire) {
        -1 => Ok(()),
        _ => filters::apply(filters::Class::Processor),
    }
}

/// Gives up every capability. (There are some if the machine is run by root.)
fn drop_capabilities() -> Result<(), SandboxError> {
    for capability in 0..64 {
        // Fails where there is no such capability, or none of them: then there is nothing to drop.
        // SAFETY: changes this process's own bounding set.
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
    }
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    let header = Header {
        version: 0x2008_0522, // version 3
        pid: 0,
    };
    let none = [0u32; 6];
    // SAFETY: version 3 of the call reads a header and two times three words.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw const header, none.as_ptr()) };
    step("giving up capabilities", done(result))
}

/// Has the machine end when its process makes a system call that is not allowed.
fn catch_violations(end: &Arc<End>) -> Result<(), SandboxError> {
    // The event stays open as long as the process: it has one machine.
    WAKE.store(end.event().as_raw_fd(), Ordering::Release);
    let caught = vmm_sys_util::signal::register_signal_handler(libc::SIGSYS, on_violation);
    step(
        "catching forbidden system calls",
        caught.map_err(|error| io::Error::from_raw_os_error(error.errno())),
    )
}

/// Notes the call, has it fail, and wakes whoever ends the machine.
extern "C" fn on_violation(_: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    /// What `siginfo_t` has for SIGSYS: behind three words and padding, an address and the call.
    #[repr(C)]
    struct SystemCall {
        head: [libc::c_int; 4],
        address: *const libc::c_void,
        number: libc::c_int,
    }
    // SAFETY: for SIGSYS the kernel has filled `info` in this form, and it is longer than that.
    let number = unsafe { (*info.cast::<SystemCall>()).number };
    let one = 1u64;
    // SAFETY: the kernel has given the handler the interrupted thread's registers, of which these are
    // the call's first argument and its answer; and eight bytes of a variable that lives are written.
    unsafe {
        let registers = &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs;
        if VIOLATION.load(Ordering::Acquire) == 0 {
            ARGUMENT.store(registers[libc::REG_RDI as usize], Ordering::Relaxed);
            VIOLATION.store(number + 1, Ordering::Release);
        }
        libc::write(WAKE.load(Ordering::Acquire), (&raw const one).cast(), 8);
        registers[libc::REG_RAX as usize] = -i64::from(libc::EPERM);
    }
}
