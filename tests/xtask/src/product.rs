//! What the working tree itself builds: programs, the guest's library, test programs, and the disk
//! that brings them into a guest.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::kernels::{Kernel, Series};
use crate::layout::Layout;
use crate::module;
use crate::process;
use crate::progress;

/// Packages that are built for use, rather than for their tests.
const PACKAGES: &[&str] = &[
    "weir",
    "weir-worker",
    "weir-opencl",
    "weir-libdeflate",
    "weir-guest-test",
    "weir-e2e",
];

/// Those of them that local tenants need.
const LOCAL_PACKAGES: &[&str] = &["weir", "weir-worker", "weir-opencl"];

/// Everything built from the working tree.
pub struct Product {
    /// Folder of the programs, and of the guest's library.
    pub bin: PathBuf,
    /// Folder of the test programs, ready to run.
    pub programs: PathBuf,
    modules: Vec<(Series, PathBuf)>,
}

impl Product {
    /// Builds everything in release.
    ///
    /// # Errors
    /// When something does not build, or the module warns.
    pub fn build(layout: &Layout, kernels: &[(Series, Kernel)]) -> Result<Self> {
        progress::step("building Weir in release");
        cargo(layout, &["build", "--release"], PACKAGES)?;
        let modules = kernels
            .iter()
            .map(|(series, kernel)| {
                progress::step(format_args!(
                    "building the module for kernel {}",
                    kernel.release()
                ));
                Ok((*series, module::build(layout, kernel)?))
            })
            .collect::<Result<_>>()?;
        progress::step("building the test programs");
        let programs = test_programs(layout)?;
        Ok(Self {
            bin: layout.target().join("release"),
            programs,
            modules,
        })
    }

    /// Writes a disk that the guest's init unpacks into `/weir`: the module for each kernel, the library,
    /// and the test programs. With `run`, the guest runs that script and powers off.
    ///
    /// # Errors
    /// When a file is missing or the disk cannot be written.
    pub fn payload(&self, layout: &Layout, name: &str, run: Option<&Path>) -> Result<PathBuf> {
        let folder = layout.guest().join("payload").join(name);
        let _ = fs::remove_dir_all(&folder);
        let mut files = vec![
            (
                layout.root().join("tests/payload/setup"),
                PathBuf::from("setup"),
            ),
            (
                self.bin.join("libweir_opencl.so"),
                PathBuf::from("lib/libweir_opencl.so"),
            ),
            (
                self.bin.join("libweir_libdeflate.so"),
                PathBuf::from("lib/interposed/libdeflate.so.0"),
            ),
            (
                self.bin.join("weir-guest-test"),
                PathBuf::from("bin/weir-guest-test"),
            ),
        ];
        for (series, module) in &self.modules {
            files.push((
                module.clone(),
                Path::new("modules").join(series.name()).join("weir.ko"),
            ));
        }
        for entry in fs::read_dir(&self.programs)? {
            let path = entry?.path();
            let name = path.file_name().context("an entry has a name")?.to_owned();
            files.push((path, Path::new("programs").join(name)));
        }
        if let Some(run) = run {
            files.push((run.to_owned(), PathBuf::from("run.sh")));
        }
        for (from, to) in files {
            let to = folder.join(to);
            fs::create_dir_all(to.parent().context("a file lies in a folder")?)?;
            fs::copy(&from, &to)
                .with_context(|| format!("copying {} to {}", from.display(), to.display()))?;
        }
        let disk = layout.guest().join(format!("{name}.tar"));
        process::run(
            Command::new("tar")
                .args(["--owner=0", "--group=0", "-cf"])
                .arg(&disk)
                .arg("-C")
                .arg(&folder)
                .arg("."),
        )?;
        Ok(disk)
    }
}

/// What programs of the host need to use a device as local tenants.
pub struct Local {
    /// Folder of the programs, and of the guest's library.
    pub bin: PathBuf,
    /// Folder of the test programs, ready to run.
    pub programs: PathBuf,
}

impl Local {
    /// Builds it in release.
    ///
    /// # Errors
    /// When something does not build.
    pub fn build(layout: &Layout) -> Result<Self> {
        progress::step("building Weir in release");
        cargo(layout, &["build", "--release"], LOCAL_PACKAGES)?;
        progress::step("building the test programs");
        Ok(Self {
            bin: layout.target().join("release"),
            programs: test_programs(layout)?,
        })
    }
}

/// Runs cargo on `packages` with its progress visible.
fn cargo(layout: &Layout, arguments: &[&str], packages: &[&str]) -> Result<()> {
    let mut command = Command::new("cargo");
    command
        .args(arguments)
        .arg("--target-dir")
        .arg(layout.target())
        .current_dir(layout.root());
    for package in packages {
        command.args(["--package", package]);
    }
    let status = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()?;
    if !status.success() {
        bail!("{} ended with {status}", process::describe(&command));
    }
    Ok(())
}

/// Compiles `tests/programs/*.c` against the host's libraries, and lays the scripts beside them.
fn test_programs(layout: &Layout) -> Result<PathBuf> {
    let sources = layout.root().join("tests/programs");
    let folder = layout.target().join("programs");
    process::run(
        Command::new("make")
            .arg("-C")
            .arg(&sources)
            .arg(format!("BUILD={}", folder.display()))
            .env_remove("MAKEFLAGS"),
    )?;
    for entry in fs::read_dir(&sources).with_context(|| format!("reading {}", sources.display()))? {
        let source = entry?.path();
        if source
            .extension()
            .is_some_and(|extension| extension == "py")
        {
            let copy = folder.join(source.file_name().context("a source has a name")?);
            fs::copy(&source, &copy)?;
        }
    }
    Ok(folder)
}
