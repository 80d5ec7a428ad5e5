//! QEMU and virtiofsd for the rig, run from the package cache with their own libraries and loader. So
//! they do not depend on what is installed on the host, nor conflict with it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::layout::Layout;
use crate::packages::{Apt, Release, Request};

/// Packages that only a machine with a screen, or an installation, has a use for.
const UNUSED: &[&str] = &[
    "iso-codes",
    "libasound2-data",
    "adduser",
    "passwd",
    "debconf",
    "ipxe-qemu",
];

/// The emulator of Debian 12 itself (7.2.22) loses the flags of `cmpxchg16b`, on which a kernel soon
/// dies; so this is the one in backports.
const QEMU: Request = Request {
    name: "qemu",
    release: Release::Backports,
    packages: &["qemu-system-x86"],
    provided: &[],
    only: &[],
    without: UNUSED,
};

/// Only the older QEMU still comes with a virtiofsd.
const VIRTIOFSD: Request = Request {
    name: "virtiofsd",
    release: Release::Stable,
    packages: &["qemu-system-common"],
    provided: &[],
    only: &[],
    without: UNUSED,
};

/// The unpacked tools.
pub struct Tools {
    qemu: PathBuf,
    virtiofsd: PathBuf,
}

impl Tools {
    /// Fetches and unpacks the tools unless they are there.
    ///
    /// # Errors
    /// When that fails.
    pub fn prepare(layout: &Layout, apt: &Apt) -> Result<Self> {
        let unpack = |request: &Request| {
            let root = layout.tools().join(request.name);
            Apt::unpack(&apt.fetch(request)?, &root, |_| Ok(()))?;
            anyhow::Ok(root)
        };
        Ok(Self {
            qemu: unpack(&QEMU)?,
            virtiofsd: unpack(&VIRTIOFSD)?,
        })
    }

    /// QEMU's system emulator for x86-64, its firmware and modules found.
    pub fn qemu(&self) -> Command {
        let mut command = program(&self.qemu, "usr/bin/qemu-system-x86_64");
        command
            .env(
                "QEMU_MODULE_DIR",
                self.qemu.join("usr/lib/x86_64-linux-gnu/qemu"),
            )
            .arg("-L")
            .arg(self.qemu.join("usr/share/qemu"))
            .arg("-L")
            .arg(self.qemu.join("usr/share/seabios"));
        command
    }

    /// The file system daemon that comes with QEMU, as root: another user could not open the files of others
    /// without changing their access times, which is how the rig's kernel opens them.
    pub fn virtiofsd(&self) -> Command {
        let daemon = program(&self.virtiofsd, "usr/lib/qemu/virtiofsd");
        if rustix::process::geteuid().is_root() {
            return daemon;
        }
        let mut sudo = Command::new("sudo");
        sudo.arg(daemon.get_program()).args(daemon.get_args());
        sudo
    }
}

/// The program at `path` among the packages unpacked in `root`, with their loader and libraries.
fn program(root: &Path, path: &str) -> Command {
    let mut search = root.join("usr/lib/x86_64-linux-gnu").into_os_string();
    search.push(":");
    search.push(root.join("lib/x86_64-linux-gnu"));
    let mut command = Command::new(root.join("lib64/ld-linux-x86-64.so.2"));
    command
        .arg("--library-path")
        .arg(search)
        .arg(root.join(path));
    command
}
