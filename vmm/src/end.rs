//! How a virtual machine ends, and what that means for whoever started it.

use std::io;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

/// Why a machine stopped running.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// The guest powered off.
    PoweredOff,
    /// The guest reset the machine: it wants to start again.
    Reset,
    /// The guest's kernel panicked.
    Panicked,
    /// The guest's processor met an error in handling an error in handling an error.
    TripleFault,
    /// The user ended it at the console.
    EndedByUser,
    /// It was told to power off, did not in time, and was ended.
    Forced,
    /// The machine could not go on.
    Failed(String),
}

/// Exit status after a failure of Weir or of the host.
pub const STATUS_FAILED: u8 = 1;
/// Exit status after wrong input: command line, configuration, files, a host without KVM.
pub const STATUS_USAGE: u8 = 2;

impl Ending {
    /// Exit status of the process that ran the machine.
    pub fn status(&self) -> u8 {
        match self {
            Self::PoweredOff | Self::Reset | Self::EndedByUser => 0,
            Self::Failed(_) => STATUS_FAILED,
            Self::Panicked => 3,
            Self::TripleFault => 4,
            Self::Forced => 5,
        }
    }

    /// One sentence for the user.
    pub fn sentence(&self) -> String {
        match self {
            Self::PoweredOff => "the guest powered off".into(),
            Self::Reset => "the guest asked for a restart".into(),
            Self::Panicked => {
                "the guest's kernel panicked; its last words are on the console".into()
            }
            Self::TripleFault => {
                "the guest's processor shut down after a triple fault: its kernel damaged itself, \
                 or is not made for this machine"
                    .into()
            }
            Self::EndedByUser => "ended at the console".into(),
            Self::Forced => "the machine was ended before its guest had powered off".into(),
            Self::Failed(why) => why.clone(),
        }
    }
}

/// Where the parts of a machine say that it has ended. The first word counts.
pub struct End {
    event: EventFd,
    ending: Mutex<Option<Ending>>,
}

impl End {
    /// Not ended yet.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            event: EventFd::new(EFD_NONBLOCK)?,
            ending: Mutex::new(None),
        })
    }

    /// Ends the machine.
    pub fn set(&self, ending: Ending) {
        let mut current = self.ending.lock().unwrap_or_else(PoisonError::into_inner);
        current.get_or_insert(ending);
        drop(current);
        // Only a counter at its limit refuses, and then it is readable already.
        let _ = self.event.write(1);
    }

    /// Forgets how it ended, before the next start.
    pub fn clear(&self) {
        let mut current = self.ending.lock().unwrap_or_else(PoisonError::into_inner);
        *current = None;
        // A failure means that there was nothing to clear.
        let _ = self.event.read();
    }

    /// How it ended, if it has.
    pub fn get(&self) -> Option<Ending> {
        let current = self.ending.lock().unwrap_or_else(PoisonError::into_inner);
        current.clone()
    }

    /// Readable once the machine has ended.
    pub fn event(&self) -> &EventFd {
        &self.event
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_ending_counts() {
        let end = End::new().unwrap();
        assert_eq!(end.get(), None);
        end.set(Ending::Panicked);
        end.set(Ending::Reset);
        assert_eq!(end.get(), Some(Ending::Panicked));
        assert_eq!(end.event().read().unwrap(), 2);
    }

    #[test]
    fn statuses_are_distinct_where_it_matters() {
        let status = |ending: Ending| ending.status();
        assert_eq!(status(Ending::PoweredOff), 0);
        assert_eq!(status(Ending::Failed("x".into())), 1);
        assert_eq!(status(Ending::Panicked), 3);
        assert_eq!(status(Ending::TripleFault), 4);
        assert_eq!(status(Ending::Forced), 5);
    }
}
