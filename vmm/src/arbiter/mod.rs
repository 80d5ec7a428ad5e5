//! The arbiters of a configuration's accelerators: in the supervisor they run, one for each
//! accelerator; in the process of a machine or a local tenant their ends are found.
//!
//! A process below the supervisor inherits its ends as descriptors, and is told their numbers as
//! `--arbiter ACCELERATOR=USAGE,GRANTS,EVENT,EVENT`. What it holds at the arbiters it has until the
//! supervisor has seen it end.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::{Arc, OnceLock};

use weir_devices::accel::arbiter::{Arbiter, DESCRIPTORS, PolicyKind, Tenancy, TenantEnd};
use weir_devices::accel::arbiter::{TenantFigures, Terms};

use crate::spec::AcceleratorSpec;

/// What an arbiter is to know of a grant.
pub fn terms(grant: &AcceleratorSpec) -> Terms {
    Terms {
        share: grant.share,
        cap: grant.cap,
        interactive: grant.interactive,
    }
}

/// The arbiters of all accelerators, by name.
#[derive(Default)]
pub struct Arbiters(BTreeMap<String, Arbiter>);

impl Arbiters {
    /// Starts an arbiter for each accelerator that `grants` are of.
    ///
    /// # Errors
    /// The system lacks something.
    pub fn start<'a>(grants: impl Iterator<Item = &'a AcceleratorSpec>) -> io::Result<Self> {
        let mut arbiters = BTreeMap::new();
        for grant in grants {
            if grant.policy != PolicyKind::None && !arbiters.contains_key(&grant.name) {
                let arbiter = Arbiter::start(&grant.name, grant.policy)?;
                arbiters.insert(grant.name.clone(), arbiter);
            }
        }
        Ok(Self(arbiters))
    }

    /// Takes in `tenant` with its `grants`.
    ///
    /// # Errors
    /// The system lacks something.
    pub fn join(&self, tenant: &str, grants: &[AcceleratorSpec]) -> io::Result<Places> {
        let mut places = Places::default();
        for grant in grants {
            if let Some(arbiter) = self.0.get(&grant.name) {
                let (tenancy, files) = arbiter.join(tenant, terms(grant))?;
                places.held.insert(grant.name.clone(), tenancy);
                places.files.push((grant.name.clone(), files));
            }
        }
        Ok(places)
    }

    /// What each accelerator's arbiter says of its tenants.
    pub fn figures(&self) -> BTreeMap<String, Vec<TenantFigures>> {
        let all = self.0.iter();
        all.map(|(name, arbiter)| (name.clone(), arbiter.figures()))
            .collect()
    }
}

/// A tenant's places at the arbiters. Dropping them gives back what it holds.
#[derive(Default)]
pub struct Places {
    held: BTreeMap<String, Tenancy>,
    files: Vec<(String, [OwnedFd; DESCRIPTORS])>,
}

impl Places {
    /// Has `command` inherit the ends. They must live until it has been started.
    pub fn hand_over(&self, command: &mut Command) {
        let mut numbers: Vec<RawFd> = Vec::new();
        for (name, files) in &self.files {
            let of_this = files.iter().map(AsRawFd::as_raw_fd);
            let text: Vec<String> = of_this.clone().map(|number| number.to_string()).collect();
            command.arg("--arbiter");
            command.arg(format!("{name}={}", text.join(",")));
            numbers.extend(of_this);
        }
        // SAFETY: between fork and exec only one system call is made for each of these descriptors,
        // which are open, and nothing is allocated or locked.
        unsafe {
            command.pre_exec(move || {
                for number in &numbers {
                    let file = BorrowedFd::borrow_raw(*number);
                    rustix::io::fcntl_setfd(file, rustix::io::FdFlags::empty())?;
                }
                Ok(())
            });
        }
    }

    /// The process has its ends.
    pub fn handed_over(&mut self) {
        self.files.clear();
    }

    /// Changes what the tenant is entitled to.
    pub fn set(&self, grant: &AcceleratorSpec) {
        if let Some(tenancy) = self.held.get(&grant.name) {
            tenancy.set_terms(terms(grant));
        }
    }
}

/// The ends that this process has been given.
static ENDS: OnceLock<BTreeMap<String, Arc<TenantEnd>>> = OnceLock::new();

/// Takes over the ends that `--arbiter` names. To be called once, as the process starts.
///
/// # Errors
/// A sentence: they are not what they should be.
pub fn adopt(arguments: &[String]) -> Result<(), String> {
    let mut ends = BTreeMap::new();
    for argument in arguments {
        let wrong = || format!("--arbiter {argument}: not ACCELERATOR=FD,FD,FD,FD");
        let (name, numbers) = argument.split_once('=').ok_or_else(wrong)?;
        let numbers: Vec<RawFd> = numbers
            .split(',')
            .map(|number| number.parse().ok().filter(|fd| *fd > 2))
            .collect::<Option<_>>()
            .ok_or_else(wrong)?;
        let mut files = Vec::new();
        for number in numbers {
            // SAFETY: fcntl on a number that is no descriptor fails, and does nothing else.
            if unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
                return Err(wrong());
            }
            // SAFETY: the descriptor is open, and whoever started this process left it to us.
            files.push(unsafe { OwnedFd::from_raw_fd(number) });
        }
        let files = <[OwnedFd; DESCRIPTORS]>::try_from(files).map_err(|_| wrong())?;
        let end =
            TenantEnd::open(files).map_err(|error| format!("--arbiter {argument}: {error}"))?;
        ends.insert(name.to_owned(), Arc::new(end));
    }
    let _ = ENDS.set(ends); // once, as is said above
    Ok(())
}

/// This process's end at the arbiter of `accelerator`, if it has been given one.
pub fn end(accelerator: &str) -> Option<Arc<TenantEnd>> {
    ENDS.get()?.get(accelerator).cloned()
}
