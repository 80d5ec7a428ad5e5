//! Policies to compare with: first come, first served; and strict priority.

use std::collections::HashMap;

use super::policy::{Choice, Policy, Ready, TenantId, Terms};

/// Lets tenants in in the order in which they come, each time anew.
#[derive(Debug, Default)]
pub struct Fifo {
    places: HashMap<TenantId, u64>,
    next: u64,
}

impl Fifo {
    fn queue_up(&mut self, tenant: TenantId) {
        self.next += 1;
        if let Some(place) = self.places.get_mut(&tenant) {
            *place = self.next;
        }
    }
}

impl Policy for Fifo {
    fn set_terms(&mut self, tenant: TenantId, _terms: Terms, _now: u64) {
        self.places.entry(tenant).or_insert(u64::MAX);
    }

    fn leave(&mut self, tenant: TenantId) {
        self.places.remove(&tenant);
    }

    fn arrive(&mut self, tenant: TenantId, _now: u64) {
        self.queue_up(tenant);
    }

    fn choose(&mut self, backlogged: &[Ready], _now: u64) -> Choice {
        let first = backlogged
            .iter()
            .filter_map(|ready| Some((self.places.get(&ready.tenant)?, ready.tenant)))
            .min();
        first.map_or(Choice::Nobody, |(_, tenant)| Choice::Grant {
            tenant,
            most: u64::MAX,
        })
    }

    fn begin(&mut self, tenant: TenantId, _expected: u64, _now: u64) {
        self.queue_up(tenant);
    }

    fn charge(&mut self, _tenant: TenantId, _used: u64, _now: u64) {}

    fn end(&mut self, _tenant: TenantId, _backlogged: bool, _now: u64) {}

    fn prefers(&self, _one: TenantId, _other: TenantId) -> bool {
        false
    }
}

/// Larger shares first, whatever they have used.
#[derive(Debug, Default)]
pub struct Strict {
    shares: HashMap<TenantId, u32>,
}

impl Policy for Strict {
    fn set_terms(&mut self, tenant: TenantId, terms: Terms, _now: u64) {
        self.shares.insert(tenant, terms.share);
    }

    fn leave(&mut self, tenant: TenantId) {
        self.shares.remove(&tenant);
    }

    fn arrive(&mut self, _tenant: TenantId, _now: u64) {}

    fn choose(&mut self, backlogged: &[Ready], _now: u64) -> Choice {
        let first = backlogged
            .iter()
            .filter_map(|ready| Some((self.shares.get(&ready.tenant)?, ready.tenant)))
            .max();
        first.map_or(Choice::Nobody, |(_, tenant)| Choice::Grant {
            tenant,
            most: u64::MAX,
        })
    }

    fn begin(&mut self, _tenant: TenantId, _expected: u64, _now: u64) {}

    fn charge(&mut self, _tenant: TenantId, _used: u64, _now: u64) {}

    fn end(&mut self, _tenant: TenantId, _backlogged: bool, _now: u64) {}

    fn prefers(&self, _one: TenantId, _other: TenantId) -> bool {
        false
    }
}
