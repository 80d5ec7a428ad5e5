//! Device memory of a tenant: one sum over all its clients.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A number of bytes that may not be exceeded.
///
/// The mediator's thread takes and gives; other threads read, and may move the limit.
#[derive(Debug)]
pub struct Quota {
    limit: AtomicU64,
    used: AtomicU64,
    peak: AtomicU64,
    returning: AtomicU64,
}

/// What came of asking for bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// They are taken.
    Yes,
    /// They will be there when workers that have been killed are gone. Nothing is taken.
    Soon,
    /// They are not there. Nothing is taken.
    No,
}

impl Quota {
    /// A quota of `limit` bytes of which none is used.
    pub fn new(limit: u64) -> Self {
        Self {
            limit: AtomicU64::new(limit),
            used: AtomicU64::new(0),
            peak: AtomicU64::new(0),
            returning: AtomicU64::new(0),
        }
    }

    /// Takes `bytes`.
    pub fn take(&self, bytes: u64) -> Taken {
        let limit = self.limit();
        let taken = self.used.fetch_update(Relaxed, Relaxed, |used| {
            used.checked_add(bytes).filter(|sum| *sum <= limit)
        });
        match taken {
            Ok(before) => {
                self.peak.fetch_max(before + bytes, Relaxed);
                Taken::Yes
            }
            Err(used) => {
                let later = used.saturating_sub(self.returning.load(Relaxed));
                match later.checked_add(bytes) {
                    Some(sum) if sum <= limit => Taken::Soon,
                    _ => Taken::No,
                }
            }
        }
    }

    /// Gives back `bytes` that were taken.
    pub fn give(&self, bytes: u64) {
        let before = self.used.fetch_sub(bytes, Relaxed);
        debug_assert!(before >= bytes, "only what was taken is given back");
    }

    /// Says that `bytes` of what is used will be given back through [`give_returning`]: their
    /// worker is being ended.
    ///
    /// [`give_returning`]: Self::give_returning
    pub fn announce_return(&self, bytes: u64) {
        self.returning.fetch_add(bytes, Relaxed);
    }

    /// Gives back `bytes` that were announced.
    pub fn give_returning(&self, bytes: u64) {
        self.returning.fetch_sub(bytes, Relaxed);
        self.give(bytes);
    }

    /// The limit.
    pub fn limit(&self) -> u64 {
        self.limit.load(Relaxed)
    }

    /// Moves the limit. What is used stays, even where it is above the new limit.
    pub fn set_limit(&self, bytes: u64) {
        self.limit.store(bytes, Relaxed);
    }

    /// Bytes used.
    pub fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }

    /// The most that was ever used at a time.
    pub fn peak(&self) -> u64 {
        self.peak.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_being_given_back_can_be_waited_for() {
        let quota = Quota::new(100);
        assert_eq!(quota.take(80), Taken::Yes);
        assert_eq!(quota.take(30), Taken::No);
        quota.announce_return(80);
        assert_eq!(quota.take(30), Taken::Soon);
        assert_eq!(quota.take(101), Taken::No);
        quota.give_returning(80);
        assert_eq!(quota.take(30), Taken::Yes);
        assert_eq!((quota.used(), quota.peak()), (30, 80));
    }

    #[test]
    fn a_sum_that_overflows_is_refused() {
        let quota = Quota::new(u64::MAX);
        assert_eq!(quota.take(2), Taken::Yes);
        assert_eq!(quota.take(u64::MAX), Taken::No);
    }

    #[test]
    fn a_lower_limit_stops_what_comes_next() {
        let quota = Quota::new(100);
        assert_eq!(quota.take(80), Taken::Yes);
        quota.set_limit(50);
        assert_eq!(quota.take(1), Taken::No);
        quota.give(80);
        assert_eq!(quota.take(50), Taken::Yes);
    }
}
