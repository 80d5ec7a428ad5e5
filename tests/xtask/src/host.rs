//! What this host can run real guests on.

use crate::kvm_probe::{self, Finding};

/// Where real guests run.
#[derive(Debug)]
pub enum Kind {
    /// On this host's own /dev/kvm.
    Kvm,
    /// In the rig, for the reason given.
    Rig(Finding),
}

/// Tries whether this host's /dev/kvm runs a kernel.
pub fn kind() -> Kind {
    match kvm_probe::probe() {
        Finding::Native => Kind::Kvm,
        finding => Kind::Rig(finding),
    }
}
