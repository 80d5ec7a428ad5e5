//! What an arbiter and one tenant's mediator share: two pages, each written by one side, and an event
//! each way.
//!
//! The arbiter hands out *turns*, numbered from 1. A turn lets the mediator open gates for a time
//! that it expects its commands to take, or, where nobody else wants the device, until the turn is
//! revoked. The mediator says when it will open no more in a turn (*sealed*), and when nothing of it
//! is left on the device (*ended*). A turn that is revoked while nothing is on the device is over at
//! once: the mediator says that it is busy before it looks a last time whether it may begin.
//!
//! | usage, written by the mediator | |
//! |---|---|
//! | 0 | wanted: commands that are ready and behind closed gates |
//! | 8 | sealed: number of the last turn in which nothing more will be opened |
//! | 16 | ended: number of the last turn of which nothing is left |
//! | 24 | used: device time in nanoseconds, in all |
//! | 32 | ends at: when what is open will probably have ended |
//! | 40 | next: how long the next command will probably take |
//! | 48 | busy: whether there is something on the device |
//!
//! | grants, written by the arbiter | |
//! |---|---|
//! | 0 | turn: number of the last turn |
//! | 8 | revoked: number of the last turn that is taken back |
//! | 16 | most: nanoseconds of the last turn; all ones for no limit |
//! | 24 | waited: nanoseconds for which the tenant has waited with a ready command |
//!
//! The arbiter takes nothing that it reads here on trust: a tenant's mediator may have been taken
//! over.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use weir_wire::shared::{SharedMemory, is_sealed};

use super::super::bell::Bell;

const PAGE: u64 = 4096;

const WANTED: u64 = 0;
const SEALED: u64 = 8;
const ENDED: u64 = 16;
const USED: u64 = 24;
const ENDS_AT: u64 = 32;
const NEXT: u64 = 40;
const BUSY: u64 = 48;

const TURN: u64 = 0;
const REVOKED: u64 = 8;
const MOST: u64 = 16;
const WAITED: u64 = 24;

/// The descriptors by which a mediator reaches its arbiter, in this order: usage page, grants page,
/// the arbiter's event, the mediator's event.
pub const DESCRIPTORS: usize = 4;

fn word(memory: &SharedMemory, at: u64) -> &AtomicU64 {
    memory.atomic_u64(at).expect("a page holds its words")
}

/// What a tenant's mediator says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Usage {
    pub(in super::super) wanted: bool,
    pub(in super::super) busy: bool,
    pub(in super::super) sealed: u64,
    pub(in super::super) ended: u64,
    pub(in super::super) used: u64,
    pub(in super::super) ends_at: u64,
    pub(in super::super) next: u64,
}

/// The arbiter's end.
#[derive(Debug)]
pub(super) struct ArbiterEnd {
    usage: SharedMemory,
    grants: SharedMemory,
    tenant: Bell,
}

/// The mediator's end.
#[derive(Debug)]
pub struct TenantEnd {
    usage: SharedMemory,
    grants: SharedMemory,
    arbiter: Bell,
    tenant: Bell,
}

/// Makes both ends; `arbiter` is the event that the arbiter sleeps on. The mediator's comes as
/// descriptors.
pub(super) fn create(arbiter: &Bell) -> io::Result<(ArbiterEnd, [OwnedFd; DESCRIPTORS])> {
    let (usage, usage_file) = SharedMemory::create("weir-usage", PAGE)?;
    let (grants, grants_file) = SharedMemory::create("weir-grants", PAGE)?;
    let tenant = Bell::new()?;
    let files = [usage_file, grants_file, arbiter.share()?, tenant.share()?];
    let end = ArbiterEnd {
        usage,
        grants,
        tenant,
    };
    Ok((end, files))
}

fn read(usage: &SharedMemory) -> Usage {
    let read = |at| word(usage, at).load(Ordering::SeqCst);
    // In this order: what is written before a turn is said to have ended is there then.
    let (ended, sealed, busy, wanted) = (read(ENDED), read(SEALED), read(BUSY), read(WANTED));
    Usage {
        wanted: wanted > 0,
        busy: busy > 0,
        sealed,
        ended,
        used: read(USED),
        ends_at: read(ENDS_AT),
        next: read(NEXT),
    }
}

impl ArbiterEnd {
    pub(super) fn usage(&self) -> Usage {
        read(&self.usage)
    }

    pub(super) fn grant(&self, turn: u64, most: u64) {
        word(&self.grants, MOST).store(most, Ordering::SeqCst);
        word(&self.grants, TURN).store(turn, Ordering::SeqCst);
        self.tenant.ring();
    }

    pub(super) fn revoke(&self, turn: u64) {
        word(&self.grants, REVOKED).store(turn, Ordering::SeqCst);
        self.tenant.ring();
    }

    pub(super) fn set_waited(&self, time: u64) {
        word(&self.grants, WAITED).store(time, Ordering::SeqCst);
    }
}

/// A turn, as the mediator sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Grant {
    pub(in super::super) turn: u64,
    pub(in super::super) revoked: bool,
    pub(in super::super) most: u64,
}

impl TenantEnd {
    /// The end that the descriptors of [`create`] lead to.
    ///
    /// # Errors
    /// They are not those.
    pub fn open(files: [OwnedFd; DESCRIPTORS]) -> io::Result<Self> {
        let [usage, grants, arbiter, tenant] = files;
        if !is_sealed(usage.as_fd()) || !is_sealed(grants.as_fd()) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(Self {
            usage: SharedMemory::map(&usage, PAGE)?,
            grants: SharedMemory::map(&grants, PAGE)?,
            arbiter: Bell::from_file(arbiter),
            tenant: Bell::from_file(tenant),
        })
    }

    /// What the mediator sleeps on.
    pub(in super::super) fn event(&self) -> BorrowedFd<'_> {
        self.tenant.as_fd()
    }

    pub(in super::super) fn grant(&self) -> Grant {
        let read = |at| word(&self.grants, at).load(Ordering::SeqCst);
        let turn = read(TURN);
        Grant {
            turn,
            revoked: read(REVOKED) >= turn,
            most: read(MOST),
        }
    }

    /// How long the tenant has waited with a ready command, in nanoseconds.
    pub(in super::super) fn waited(&self) -> u64 {
        word(&self.grants, WAITED).load(Ordering::Relaxed)
    }

    /// What the mediator said last.
    pub(in super::super) fn said(&self) -> Usage {
        read(&self.usage)
    }

    /// Says whether there is something on the device. Whoever then looks at the turn sees whether it
    /// was taken back before.
    pub(in super::super) fn set_busy(&self, busy: bool) {
        word(&self.usage, BUSY).store(u64::from(busy), Ordering::SeqCst);
    }

    pub(in super::super) fn write(&self, usage: Usage) {
        let write = |at, value| word(&self.usage, at).store(value, Ordering::SeqCst);
        write(NEXT, usage.next);
        write(ENDS_AT, usage.ends_at);
        write(USED, usage.used);
        write(WANTED, u64::from(usage.wanted));
        write(BUSY, u64::from(usage.busy));
        write(SEALED, usage.sealed);
        write(ENDED, usage.ended);
    }

    pub(in super::super) fn ring(&self) {
        self.arbiter.ring();
    }
}
