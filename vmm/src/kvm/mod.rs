//! Small wrappers round KVM: the VM, its processors, and what devices need of them.

pub mod cpuid;
pub mod doorbells;
pub mod interrupts;
pub mod msr;
pub mod vcpu;
pub mod vm;
pub mod window;

use thiserror::Error;

/// Why KVM did not do what was asked.
#[derive(Debug, Error)]
pub enum KvmError {
    /// `/dev/kvm` could not be opened.
    #[error("opening /dev/kvm ({hint})")]
    Open {
        /// What to do about it.
        hint: &'static str,
        /// What the system said.
        #[source]
        source: kvm_ioctls::Error,
    },
    /// KVM speaks another version of its interface.
    #[error("KVM speaks API version {0}, not 12: this kernel is too old or not Linux's own")]
    Version(i32),
    /// KVM lacks something that cannot be done without.
    #[error("KVM on this machine lacks {0}")]
    Lacks(&'static str),
    /// A call failed.
    #[error("KVM: {doing}")]
    Call {
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        #[source]
        source: kvm_ioctls::Error,
    },
}

impl KvmError {
    /// For `map_err`: the error of a call that was doing `doing`.
    pub(crate) fn call(doing: &'static str) -> impl Fn(kvm_ioctls::Error) -> Self {
        move |source| Self::Call { doing, source }
    }

    /// Whether the machine, not Weir, has to be changed before a VM can run.
    pub fn is_host_setup(&self) -> bool {
        matches!(self, Self::Open { .. } | Self::Version(_) | Self::Lacks(_))
    }
}

/// What to do when `/dev/kvm` does not open with `errno`.
pub fn open_hint(errno: i32) -> &'static str {
    match errno {
        libc::ENOENT => {
            "is virtualization switched on in the firmware, and kvm_intel or kvm_amd loaded?"
        }
        libc::EACCES | libc::EPERM => {
            "no permission: join the group `kvm` or run as root; in a container pass the device"
        }
        libc::ENXIO | libc::ENODEV => "the device node is there but no KVM module stands behind it",
        _ => "`weir doctor` tells more",
    }
}
