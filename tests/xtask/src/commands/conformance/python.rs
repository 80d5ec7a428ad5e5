//! What comes from PyPI: an environment of its own, with fixed versions.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::side::Vendor;
use crate::process;
use crate::progress;

/// What the environment holds. PyOpenCL's wheel brings along a loader of its own.
const REQUIREMENTS: &[&str] = &[
    "pyopencl==2026.1.4",
    "numpy==2.4.6",
    "mako==1.4.3",
    "pytest==9.2.0",
    // Intel's OpenCL for CPUs.
    "intel-opencl-rt==2026.2.0",
    "intel-cmplr-lib-rt==2026.2.0",
    // With these, pip reads the metadata of PyOpenCL's sources without an environment for its build.
    "scikit-build-core==1.1.2",
    "nanobind==3.1.0",
    "cmake==4.4.5",
    "ninja==1.13.2",
];

const PYOPENCL_SOURCES: &str = "pyopencl==2026.1.4";

/// The environment.
pub struct Python {
    home: PathBuf,
}

impl Python {
    /// Makes it, unless it is there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn prepare(folder: &Path) -> Result<Self> {
        let home = folder.join("python");
        let python = Self { home };
        let stamp = python.home.join("requirements");
        let wanted = REQUIREMENTS.join("\n");
        if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
            return Ok(python);
        }
        progress::step(format_args!(
            "packages of PyPI, into {}: {}",
            python.home.display(),
            REQUIREMENTS.join(" ")
        ));
        let _ = fs::remove_dir_all(&python.home);
        process::run(
            Command::new("/usr/bin/python3")
                .args(["-m", "venv"])
                .arg(&python.home),
        )?;
        process::run(python.pip().arg("install").args(REQUIREMENTS))?;
        let sources = python.home.join("sources");
        fs::create_dir_all(&sources)?;
        process::run(
            python
                .pip()
                .args(["download", "--no-deps", "--no-build-isolation"])
                .args(["--no-binary=:all:", PYOPENCL_SOURCES, "--dest"])
                .arg(&sources),
        )?;
        let archive = fs::read_dir(&sources)?
            .find_map(|entry| Some(entry.ok()?.path()))
            .context("pip has downloaded PyOpenCL's sources")?;
        process::run(
            Command::new("tar")
                .arg("-C")
                .arg(&sources)
                .args(["--strip-components=1", "-xf"])
                .arg(&archive),
        )?;
        fs::write(&stamp, wanted)?;
        Ok(python)
    }

    fn pip(&self) -> Command {
        // The build back end of PyOpenCL looks for its tools there.
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(self.home.join("bin")).chain(std::env::split_paths(&path));
        let mut command = Command::new(self.program());
        if let Ok(path) = std::env::join_paths(folders) {
            command.env("PATH", path);
        }
        command.args(["-m", "pip", "--disable-pip-version-check", "--quiet"]);
        command
    }

    /// The interpreter.
    pub fn program(&self) -> PathBuf {
        self.home.join("bin/python")
    }

    /// PyOpenCL's own tests.
    pub fn pyopencl_tests(&self) -> PathBuf {
        self.home.join("sources/test")
    }

    /// Intel's OpenCL, described in a folder below `folder`.
    ///
    /// # Errors
    /// When the description cannot be written.
    pub fn intel(&self, folder: &Path) -> Result<Vendor> {
        let libraries = self.home.join("lib");
        let drivers = folder.join("drivers/intel");
        fs::create_dir_all(&drivers)?;
        let library = libraries.join("libintelocl.so");
        fs::write(
            drivers.join("intel.icd"),
            format!("{}\n", library.display()),
        )?;
        Ok(Vendor {
            platform: "Intel",
            drivers,
            libraries: Some(libraries),
        })
    }
}
