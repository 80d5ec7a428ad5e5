//! Fair queueing over device time.
//!
//! Each tenant has a *tag*: the device time that it has used, divided by its share. Time is charged
//! after it has been used, as measured; until then the expected time counts. Of those whose tags are
//! not above the mean (by their shares, of all that want or have the device) the one is next that
//! would have the lowest tag after its next command. The first keeps a tenant from getting ahead by
//! more than one command, the second those with large shares or short commands from falling behind
//! while the others have theirs.
//!
//! The virtual time is the tag of who was served last, as it was when that began. An idle tenant that
//! comes back starts no further behind than one service lately took anybody: nobody saves up more
//! than that. That little is kept because who has nothing to do for a moment only would lose it anew
//! whenever another's long command begins meanwhile, and because who uses less than its share is then
//! next at once. Nobody gains more than its share by it: it is part of the share that was not used.

use std::collections::HashMap;

use super::policy::{Choice, Policy, Ready, TenantId, Terms};

/// Tags are nanoseconds times this, divided by the share: exact enough for the largest share.
const SCALE: u128 = 1 << 20;
/// A cap is kept over any time as long as this, and more loosely over shorter ones.
const CAP_WINDOW: u64 = 20_000_000;
/// Most time that a tenant has in hand when it comes back, whatever others' commands took.
const MOST_IN_HAND: u64 = 100_000_000;
/// Of each service, what was the longest before counts for one part in so many less.
const FORGETTING: u128 = 64;

#[derive(Clone, Copy, Debug)]
struct Account {
    terms: Terms,
    tag: u128,
    /// Expected in this service and not charged yet.
    expected: u64,
    /// What the cap leaves, in nanoseconds times 100; may be negative.
    left: i128,
    /// When `left` was right.
    filled: u64,
    /// When it was served last, as a count of services.
    served: u64,
    /// Its tag when this service began.
    began: u128,
}

impl Account {
    fn scaled(&self, time: u64) -> u128 {
        u128::from(time) * SCALE / u128::from(self.terms.share.max(1))
    }

    fn expected_tag(&self) -> u128 {
        self.tag + self.scaled(self.expected)
    }

    /// Adds to what the cap leaves.
    fn fill(&mut self, now: u64) {
        let Some(cap) = self.terms.cap else { return };
        let past = now.saturating_sub(self.filled);
        self.filled = now;
        let most = i128::from(CAP_WINDOW) * i128::from(cap);
        self.left = (self.left + i128::from(past) * i128::from(cap)).min(most);
    }

    /// What the cap leaves, in nanoseconds, or when it leaves something again.
    fn room(&mut self, now: u64) -> Result<u64, u64> {
        let Some(cap) = self.terms.cap else {
            return Ok(u64::MAX);
        };
        self.fill(now);
        if self.left > 0 {
            return Ok(u64::try_from(self.left / 100).unwrap_or(u64::MAX).max(1));
        }
        let missing = u64::try_from(1 - self.left).unwrap_or(u64::MAX);
        Err(now.saturating_add(missing.div_ceil(u64::from(cap.max(1)))))
    }
}

/// The policy.
#[derive(Debug, Default)]
pub struct Fair {
    accounts: HashMap<TenantId, Account>,
    virtual_time: u128,
    services: u64,
    /// How far one service lately moved a tag.
    step: u128,
}

/// What decides between tenants that have something to do: the lowest is next.
type Rank = (bool, bool, u128, u64);

impl Fair {
    /// The mean of the tags of those that have something to do or are served, by their shares:
    /// where everybody's tag would be if the device could be divided.
    fn mean(&self, backlogged: &[Ready]) -> u128 {
        let active = |(tenant, account): &(&TenantId, &Account)| {
            account.expected > 0 || backlogged.iter().any(|ready| ready.tenant == **tenant)
        };
        let active = self.accounts.iter().filter(active);
        let active: Vec<(u128, u128)> = active
            .map(|(_, account)| (account.expected_tag(), u128::from(account.terms.share)))
            .collect();
        // (Relative to the lowest, so that the products stay small.)
        let Some(lowest) = active.iter().map(|(tag, _)| *tag).min() else {
            return self.virtual_time;
        };
        let above: u128 = active.iter().map(|(tag, by)| (tag - lowest) * by).sum();
        let shares: u128 = active.iter().map(|(_, by)| by).sum();
        lowest + above.div_ceil(shares.max(1))
    }

    fn rank(&self, account: &Account, next: u64, mean: u128) -> Rank {
        let tag = account.expected_tag();
        let ahead = account.terms.interactive && tag <= self.virtual_time;
        (
            !ahead,
            tag > mean,
            tag + account.scaled(next),
            account.served,
        )
    }
}

impl Policy for Fair {
    fn set_terms(&mut self, tenant: TenantId, terms: Terms, now: u64) {
        let fresh = Account {
            terms,
            tag: self.virtual_time,
            expected: 0,
            left: i128::from(CAP_WINDOW) * i128::from(terms.cap.unwrap_or(0)),
            filled: now,
            served: 0,
            began: self.virtual_time,
        };
        let account = self.accounts.entry(tenant).or_insert(fresh);
        account.fill(now);
        if account.terms.cap.is_none() {
            (account.left, account.filled) = (fresh.left, now);
        }
        // What is ahead of the virtual time was used under the old share.
        let ahead = account.tag.saturating_sub(self.virtual_time);
        let (old, new) = (account.terms.share.max(1), terms.share.max(1));
        account.tag = account.tag - ahead + ahead * u128::from(old) / u128::from(new);
        account.terms = terms;
    }

    fn leave(&mut self, tenant: TenantId) {
        self.accounts.remove(&tenant);
    }

    fn arrive(&mut self, tenant: TenantId, _now: u64) {
        if let Some(account) = self.accounts.get_mut(&tenant) {
            let in_hand = self.step.min(account.scaled(MOST_IN_HAND));
            account.tag = account.tag.max(self.virtual_time.saturating_sub(in_hand));
        }
    }

    fn choose(&mut self, backlogged: &[Ready], now: u64) -> Choice {
        let mean = self.mean(backlogged);
        let mut best: Option<(Rank, TenantId, u64)> = None;
        let mut soonest: Option<u64> = None;
        for Ready { tenant, next } in backlogged {
            let Some(account) = self.accounts.get_mut(tenant) else {
                continue;
            };
            let most = match account.room(now) {
                Ok(most) => most,
                Err(at) => {
                    soonest = Some(soonest.map_or(at, |other| other.min(at)));
                    continue;
                }
            };
            let rank = self.rank(&self.accounts[tenant], *next, mean);
            if best.as_ref().is_none_or(|(other, ..)| rank < *other) {
                best = Some((rank, *tenant, most));
            }
        }
        match (best, soonest) {
            (Some((_, tenant, most)), _) => Choice::Grant { tenant, most },
            (None, Some(at)) => Choice::Until(at),
            (None, None) => Choice::Nobody,
        }
    }

    fn begin(&mut self, tenant: TenantId, expected: u64, _now: u64) {
        self.services += 1;
        if let Some(account) = self.accounts.get_mut(&tenant) {
            self.virtual_time = self.virtual_time.max(account.tag);
            account.expected = account.expected.saturating_add(expected);
            account.served = self.services;
            account.began = account.tag;
        }
    }

    fn charge(&mut self, tenant: TenantId, used: u64, now: u64) {
        if let Some(account) = self.accounts.get_mut(&tenant) {
            self.virtual_time = self.virtual_time.max(account.tag);
            account.fill(now);
            account.left -= i128::from(used) * 100;
            account.tag += account.scaled(used);
            account.expected = account.expected.saturating_sub(used);
        }
    }

    fn end(&mut self, tenant: TenantId, _backlogged: bool, _now: u64) {
        if let Some(account) = self.accounts.get_mut(&tenant) {
            account.expected = 0;
            let step = account.tag.saturating_sub(account.began);
            self.step = step.max(self.step - self.step / FORGETTING);
        }
    }

    fn prefers(&self, one: TenantId, other: TenantId) -> bool {
        match (self.accounts.get(&one), self.accounts.get(&other)) {
            (Some(one), Some(other)) => one.expected_tag() < other.expected_tag(),
            _ => false,
        }
    }

    fn virtual_time(&self, tenant: TenantId) -> u64 {
        let tag = self.accounts.get(&tenant).map_or(0, |account| account.tag);
        u64::try_from(tag / SCALE).unwrap_or(u64::MAX)
    }
}
