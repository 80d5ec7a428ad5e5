//! Who may use an accelerator next. Policies know no clock and no device: they are told what happens
//! and asked for decisions, so the same code runs against a simulated clock.
//!
//! All times are nanoseconds of one clock; only differences matter.

use serde::{Deserialize, Serialize};

/// A tenant's number at its arbiter.
pub type TenantId = u32;

/// What a tenant is entitled to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Weight among those who want the device at the same time; at least 1.
    pub share: u32,
    /// Most of the device's time, in percent, whoever else wants it.
    pub cap: Option<u32>,
    /// Whether it goes ahead of others as long as it has not used up its share.
    pub interactive: bool,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            share: 1,
            cap: None,
            interactive: false,
        }
    }
}

/// A tenant that has something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// The tenant.
    pub tenant: TenantId,
    /// How long its next command will probably take, in nanoseconds.
    pub next: u64,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// This tenant is next, for `most` nanoseconds.
    Grant {
        /// The tenant.
        tenant: TenantId,
        /// Most that it may use before it is asked about again; `u64::MAX` for no limit.
        most: u64,
    },
    /// Nobody is before this time.
    Until(u64),
    /// Nobody is.
    Nobody,
}

/// A policy of sharing one accelerator.
///
/// ```text
///          arrive               begin                end
///   idle ─────────▶ backlogged ───────▶ served ──────────────▶ idle, or backlogged if it
///                                       charge, charge, …       still has something to do
/// ```
pub trait Policy: Send {
    /// A tenant comes, or its terms change.
    fn set_terms(&mut self, tenant: TenantId, terms: Terms, now: u64);

    /// A tenant goes.
    fn leave(&mut self, tenant: TenantId);

    /// An idle tenant has something to do.
    fn arrive(&mut self, tenant: TenantId, now: u64);

    /// Which of the `backlogged` tenants is next.
    fn choose(&mut self, backlogged: &[Ready], now: u64) -> Choice;

    /// A tenant is served, probably for `expected` nanoseconds.
    fn begin(&mut self, tenant: TenantId, expected: u64, now: u64);

    /// A tenant that is served has used `used` nanoseconds more.
    fn charge(&mut self, tenant: TenantId, used: u64, now: u64);

    /// A tenant has been served.
    fn end(&mut self, tenant: TenantId, backlogged: bool, now: u64);

    /// Whether `one` would be next rather than `other`, were both backlogged.
    fn prefers(&self, one: TenantId, other: TenantId) -> bool;

    /// What a tenant has used, by the policy's own measure, for people.
    fn virtual_time(&self, _tenant: TenantId) -> u64 {
        0
    }
}

/// The policies that there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyKind {
    /// By device time, in proportion to shares.
    #[default]
    Fair,
    /// In the order of arrival.
    Fifo,
    /// Larger shares first, whatever they have used.
    Strict,
    /// Nobody is held back: every command goes to the device at once.
    None,
}

impl PolicyKind {
    /// A policy of this kind, without tenants; if there is one.
    pub fn build(self) -> Option<Box<dyn Policy>> {
        match self {
            Self::Fair => Some(Box::<super::fair::Fair>::default()),
            Self::Fifo => Some(Box::<super::simple::Fifo>::default()),
            Self::Strict => Some(Box::<super::simple::Strict>::default()),
            Self::None => None,
        }
    }
}
