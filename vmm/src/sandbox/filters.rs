//! Which system calls each kind of thread may make.
//!
//! A thread starts with the list of the one that started it, so each list is a part of that one's:
//! the main thread's is the longest, the mediators' the shortest.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter, apply_filter_all_threads,
};

use super::SandboxError;

/// Kinds of threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Sets machines up, serves disks, console and supervisor.
    Main,
    /// Runs a processor; activates devices, by which it starts mediators.
    Processor,
    /// Serves a local tenant: all threads of its process.
    Mediator,
}

/// What every thread needs: memory, other threads, time, events, and the files that are open.
const COMMON: &[c_long] = &[
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_close,
    libc::SYS_dup,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_epoll_wait,
    libc::SYS_eventfd2,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_fcntl,
    libc::SYS_fstat,
    libc::SYS_ftruncate,
    libc::SYS_futex,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_gettimeofday,
    libc::SYS_lseek,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_memfd_create,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_seccomp,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_set_robust_list,
    libc::SYS_shutdown,
    libc::SYS_sigaltstack,
    libc::SYS_timerfd_settime,
    libc::SYS_wait4,
    libc::SYS_waitid,
    libc::SYS_write,
    libc::SYS_writev,
];

/// What the main thread needs beside it: disks, timers, the machine's files at its start.
const MAIN: &[c_long] = &[
    libc::SYS_fallocate,
    libc::SYS_fdatasync,
    libc::SYS_fsync,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_preadv2,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_pwritev2,
    libc::SYS_signalfd4,
    libc::SYS_statx,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_gettime,
];

/// What a local tenant's mediator needs: programs that connect, and its socket's end.
const MEDIATOR: &[c_long] = &[
    libc::SYS_accept4,
    libc::SYS_getsockopt,
    libc::SYS_unlink,
    libc::SYS_unlinkat,
];

/// What libraries try by the way, and do without: not made, and no reason to end.
const REFUSED: &[c_long] = &[
    libc::SYS_access,
    libc::SYS_newfstatat,
    libc::SYS_open,
    libc::SYS_openat,
    libc::SYS_readlink,
    libc::SYS_readlinkat,
    libc::SYS_stat,
];

/// Requests on KVM's and other descriptors that every thread may make: their type is KVM's, or they
/// are of these.
const REQUESTS: &[u64] = &[
    libc::TCGETS,
    libc::TCSETS,
    libc::TCSETSW,
    libc::TCSETSF,
    libc::TIOCGWINSZ,
    libc::FIONBIO,
];
/// Type of KVM's requests, and where a request has it.
const KVM_TYPE: u64 = 0xae00;
const TYPE_MASK: u64 = 0xff00;

/// What a thread may ask `prctl` for: a name; no new privileges, before a shorter list of system
/// calls; a name for memory, as newer allocators do; and what the kernel told the process at its
/// start (`PR_GET_AUXV`).
const CONTROLS: &[u64] = &[
    libc::PR_SET_NAME as u64,
    libc::PR_SET_NO_NEW_PRIVS as u64,
    0x5356_4d41,
    0x4155_5856,
];

type Rules = BTreeMap<c_long, Vec<SeccompRule>>;

/// Restricts this process, or, for a processor, this thread; and all threads that it will start.
pub fn apply(class: Class) -> Result<(), SandboxError> {
    let everybody = class != Class::Processor;
    // clone3's flags are behind a pointer, where no filter sees them; without it, libc uses clone().
    // openat and the like fail quietly. Each filter lets pass what another answers.
    let absent = |calls: &[c_long], error: i32| -> Result<(), SandboxError> {
        let rules = calls.iter().map(|call| (*call, Vec::new())).collect();
        let answer = SeccompAction::Errno(error as u32);
        install(everybody, rules, SeccompAction::Allow, answer)
    };
    if class != Class::Processor {
        absent(&[libc::SYS_clone3], libc::ENOSYS)?;
        absent(REFUSED, libc::EACCES)?;
    }
    let rules = rules(class)?;
    install(everybody, rules, SeccompAction::Trap, SeccompAction::Allow)
}

fn rules(class: Class) -> Result<Rules, SandboxError> {
    let always = COMMON.iter().chain(REFUSED).chain([&libc::SYS_clone3]);
    let mut rules: Rules = always.map(|call| (*call, Vec::new())).collect();
    let more = match class {
        Class::Main => MAIN,
        Class::Processor => &[],
        Class::Mediator => MEDIATOR,
    };
    rules.extend(more.iter().map(|call| (*call, Vec::new())));
    // All that is looked at are 32-bit values, of which the kernel ignores the upper half, or flags
    // of which only the lower half has a meaning.
    let one = |index, op, value| -> Result<SeccompRule, SandboxError> {
        let condition = SeccompCondition::new(index, SeccompCmpArgLen::Dword, op, value)?;
        Ok(SeccompRule::new(vec![condition])?)
    };
    // No memory that can be run is made.
    let exec = libc::PROT_EXEC as u64;
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        rules.insert(call, vec![one(2, SeccompCmpOp::MaskedEq(exec), 0)?]);
    }
    // Threads, and no processes.
    let thread = libc::CLONE_THREAD as u64;
    let starts_thread = one(0, SeccompCmpOp::MaskedEq(thread), thread)?;
    rules.insert(libc::SYS_clone, vec![starts_thread]);
    // Signals to threads of this process.
    let own = u64::from(std::process::id());
    rules.insert(libc::SYS_tgkill, vec![one(0, SeccompCmpOp::Eq, own)?]);
    let controls = CONTROLS
        .iter()
        .map(|control| one(0, SeccompCmpOp::Eq, *control));
    let controls = controls.collect::<Result<_, _>>()?;
    rules.insert(libc::SYS_prctl, controls);
    let mut requests = Vec::new();
    if class != Class::Mediator {
        requests.push(one(1, SeccompCmpOp::MaskedEq(TYPE_MASK), KVM_TYPE)?);
    }
    if class != Class::Processor {
        for request in REQUESTS {
            requests.push(one(1, SeccompCmpOp::Eq, *request)?);
        }
    }
    rules.insert(libc::SYS_ioctl, requests);
    Ok(rules)
}

fn install(
    everybody: bool,
    rules: Rules,
    others: SeccompAction,
    matching: SeccompAction,
) -> Result<(), SandboxError> {
    let filter = SeccompFilter::new(rules, others, matching, TargetArch::x86_64)?;
    let program: seccompiler::BpfProgram = filter.try_into()?;
    match everybody {
        true => apply_filter_all_threads(&program)?,
        false => apply_filter(&program)?,
    }
    Ok(())
}
