//! What has to be on the host's own system, since other programs look for it there.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::process;
use crate::progress;

/// A Debian package and how to see that what it is needed for is already there.
struct Need {
    package: &'static str,
    present: fn() -> bool,
}

const NEEDS: &[Need] = &[
    Need {
        package: "gcc",
        present: || program("gcc"),
    },
    Need {
        package: "libc6-dev",
        present: || Path::new("/usr/include/stdio.h").exists(),
    },
    Need {
        package: "make",
        present: || program("make"),
    },
    // The kernel's build tools are linked with it.
    Need {
        package: "libelf1",
        present: || Path::new("/usr/lib/x86_64-linux-gnu/libelf.so.1").exists(),
    },
    // With W=1 the kernel's build checks comments with a script that needs more than perl-base.
    Need {
        package: "perl",
        present: || succeeds("perl", &["-MPod::Usage", "-e1"]),
    },
    Need {
        package: "xz-utils",
        present: || program("xz"),
    },
    Need {
        package: "kmod",
        present: || program("depmod"),
    },
    Need {
        package: "e2fsprogs",
        present: || program("mke2fs"),
    },
    Need {
        package: "busybox-static",
        present: || Path::new("/bin/busybox").exists() && statically_linked("/bin/busybox"),
    },
    Need {
        package: "debian-archive-keyring",
        present: || Path::new("/usr/share/keyrings/debian-archive-keyring.gpg").exists(),
    },
    Need {
        package: "clinfo",
        present: || program("clinfo"),
    },
    Need {
        package: "ocl-icd-opencl-dev",
        present: || {
            Path::new("/usr/include/CL/cl.h").exists()
                && Path::new("/usr/lib/x86_64-linux-gnu/libOpenCL.so").exists()
        },
    },
    Need {
        package: "libdeflate-dev",
        present: || {
            Path::new("/usr/include/libdeflate.h").exists()
                && Path::new("/usr/lib/x86_64-linux-gnu/libdeflate.so").exists()
        },
    },
    Need {
        package: "pocl-opencl-icd",
        present: || Path::new("/etc/OpenCL/vendors/pocl.icd").exists(),
    },
    Need {
        // For the test that compares a Python program in a guest with the same on the host.
        package: "python3-pyopencl",
        present: || Path::new("/usr/lib/python3/dist-packages/pyopencl").exists(),
    },
];

/// Programs that conformance is tried with.
const CONFORMANCE: &[Need] = &[
    Need {
        package: "piglit",
        present: || program("piglit"),
    },
    Need {
        package: "clblast-tests",
        present: || program("clblast_test_xdot"),
    },
    Need {
        package: "hashcat",
        present: || program("hashcat"),
    },
    Need {
        package: "clpeak",
        present: || program("clpeak"),
    },
    Need {
        package: "python3-venv",
        present: || succeeds("/usr/bin/python3", &["-c", "import ensurepip, venv"]),
    },
];

/// Installs what is missing, after printing it. Needs root, or sudo, only if something is.
///
/// # Errors
/// When the installation fails or neither root nor sudo is at hand.
pub fn ensure() -> Result<()> {
    ensure_all(NEEDS)
}

/// As [`ensure`], for the programs that conformance is tried with.
///
/// # Errors
/// As [`ensure`].
pub fn ensure_conformance() -> Result<()> {
    ensure_all(CONFORMANCE)
}

fn ensure_all(needs: &[Need]) -> Result<()> {
    let missing: Vec<_> = needs
        .iter()
        .filter(|need| !(need.present)())
        .map(|need| need.package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    progress::step(format_args!(
        "installing Debian packages on this host: {}",
        missing.join(" ")
    ));
    if let Err(error) = install(&missing) {
        progress::detail("refreshing the host's package lists and trying again");
        apt_get(&["update"])
            .and_then(|()| install(&missing))
            .with_context(|| format!("the first attempt failed: {error:#}"))?;
    }
    Ok(())
}

fn install(packages: &[&str]) -> Result<()> {
    let mut arguments = vec!["install", "--yes", "--no-install-recommends"];
    arguments.extend(packages);
    apt_get(&arguments)
}

fn apt_get(arguments: &[&str]) -> Result<()> {
    let mut command = if rustix::process::geteuid().is_root() {
        Command::new("env")
    } else if program("sudo") {
        let mut sudo = Command::new("sudo");
        sudo.arg("env").stdin(Stdio::inherit());
        sudo
    } else {
        bail!(
            "this needs root or sudo; as root, run: apt-get {}",
            arguments.join(" ")
        );
    };
    command
        .args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-q"])
        .args(arguments);
    process::run(&mut command)
}

fn succeeds(program: &str, arguments: &[&str]) -> bool {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|folder| folder.join(name).is_file())
}

/// Whether the program at `path` runs where there is no dynamic loader, as in an initramfs.
fn statically_linked(path: &str) -> bool {
    std::fs::read(path)
        .is_ok_and(|program| !program.windows(15).any(|bytes| bytes == b"/ld-linux-x86-6"))
}
