//! Debian's stock cloud kernels, with modules and headers, unpacked and never installed.
//!
//! `target/guest/6.1/` and `target/guest/6.12/` each hold `vmlinuz`, `config`, `lib/modules/…` (plain
//! `.ko` files with `modules.dep`) and `headers/`, against which `make -C headers M=…` builds modules.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::layout::Layout;
use crate::packages::{Apt, Release, Request};
use crate::process;

/// A kernel that Weir is built and tested against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Series {
    /// Debian 12's own.
    #[value(name = "6.1")]
    V6_1,
    /// The one in Debian 12's backports.
    #[value(name = "6.12")]
    V6_12,
}

impl Series {
    /// Every series, oldest first.
    pub const ALL: [Self; 2] = [Self::V6_1, Self::V6_12];

    /// The series' number.
    pub fn name(self) -> &'static str {
        match self {
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
        }
    }

    fn request(self) -> Request<'static> {
        let (name, release) = match self {
            Self::V6_1 => ("kernel-6.1", Release::Stable),
            Self::V6_12 => ("kernel-6.12", Release::Backports),
        };
        Request {
            name,
            release,
            packages: &["linux-image-cloud-amd64", "linux-headers-cloud-amd64"],
            provided: &[],
            only: &["linux-image-", "linux-headers-", "linux-kbuild-"],
            without: &[],
        }
    }
}

/// An unpacked kernel.
pub struct Kernel {
    root: PathBuf,
    release: String,
}

impl Kernel {
    /// Fetches and unpacks `series` unless it is there.
    ///
    /// # Errors
    /// When that fails, or the packages do not hold what a kernel's packages hold.
    pub fn prepare(layout: &Layout, apt: &Apt, series: Series) -> Result<Self> {
        let root = layout.guest().join(series.name());
        let archives = apt.fetch(&series.request())?;
        Apt::unpack(&archives, &root, |fresh| arrange(fresh, &root))?;
        let release = release(&root)?;
        Ok(Self { root, release })
    }

    /// What `uname -r` says on this kernel.
    pub fn release(&self) -> &str {
        &self.release
    }

    /// Where it is unpacked.
    pub fn folder(&self) -> &Path {
        &self.root
    }

    /// The bzImage.
    pub fn image(&self) -> PathBuf {
        self.root.join("vmlinuz")
    }

    /// The folder with `modules.dep` and all modules.
    pub fn modules(&self) -> PathBuf {
        self.root.join("lib/modules").join(&self.release)
    }

    /// The tree that out-of-tree modules are built against.
    pub fn headers(&self) -> PathBuf {
        self.root.join("headers")
    }

    /// The files of the modules `names` and of all that they depend on, in an order in which they can
    /// be loaded. Names that are built into this kernel, and have no file, are left out.
    ///
    /// # Errors
    /// When `modules.dep` cannot be read, or there is no such module.
    pub fn closure(&self, names: &[&str]) -> Result<Vec<PathBuf>> {
        let read = |file: &str| {
            let path = self.modules().join(file);
            fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
        };
        let (dependencies, builtin) = (read("modules.dep")?, read("modules.builtin")?);
        let stem = |path: &str| {
            let file = path.rsplit('/').next().unwrap_or(path);
            file.trim_end_matches(".ko").replace('_', "-")
        };
        let mut files = Vec::new();
        for name in names {
            let wanted = name.replace('_', "-");
            let line = dependencies.lines().find(|line| {
                line.split(':')
                    .next()
                    .is_some_and(|path| stem(path) == wanted)
            });
            let Some((path, needs)) = line.and_then(|line| line.split_once(':')) else {
                if builtin.lines().any(|path| stem(path) == wanted) {
                    continue;
                }
                bail!("kernel {} has no module {name}", self.release);
            };
            // modules.dep lists what a module needs with the deepest need last.
            for path in needs.split_whitespace().rev().chain([path]) {
                let file = self.modules().join(path);
                if !files.contains(&file) {
                    files.push(file);
                }
            }
        }
        Ok(files)
    }
}

/// The one folder under `lib/modules`.
fn release(root: &Path) -> Result<String> {
    let folder = root.join("lib/modules");
    let names: Vec<_> = fs::read_dir(&folder)
        .with_context(|| format!("reading {}", folder.display()))?
        .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
        .collect();
    match names.as_slice() {
        [name] => Ok(name.clone()),
        names => bail!("{} holds {names:?} instead of one kernel", folder.display()),
    }
}

/// Makes the unpacked packages usable where they lie: under `fresh` now, under `root` soon.
fn arrange(fresh: &Path, root: &Path) -> Result<()> {
    let release = release(fresh)?;
    symlink(format!("boot/vmlinuz-{release}"), fresh.join("vmlinuz"))?;
    symlink(format!("boot/config-{release}"), fresh.join("config"))?;
    symlink(
        format!("usr/src/linux-headers-{release}"),
        fresh.join("headers"),
    )?;
    for stale in ["build", "source"] {
        let _ = fs::remove_file(fresh.join("lib/modules").join(&release).join(stale));
    }

    // Neither an initrd's busybox nor every kernel loads compressed modules.
    process::run(Command::new("find").arg(fresh.join("lib/modules")).args([
        "-name",
        "*.ko.xz",
        "-exec",
        "xz",
        "--decompress",
        "{}",
        "+",
    ]))?;
    process::run(
        Command::new("/sbin/depmod")
            .arg("--basedir")
            .arg(fresh)
            .arg(&release),
    )?;

    let headers = fresh.join("headers");
    let makefile = headers.join("Makefile");
    let text =
        fs::read_to_string(&makefile).with_context(|| format!("reading {}", makefile.display()))?;
    fs::write(
        &makefile,
        text.replace("/usr/src/", &format!("{}/usr/src/", root.display())),
    )?;
    // Debian names the compiler it built the kernel with; another version of gcc does as well.
    if !Path::new("/usr/bin/x86_64-linux-gnu-gcc-12").exists() {
        let variables = headers.join(".kernelvariables");
        let text = fs::read_to_string(&variables)?;
        fs::write(&variables, text.replace("gcc-12", "gcc"))?;
    }
    // With a vmlinux, kbuild wants pahole for type information that nobody here reads.
    let _ = fs::remove_file(headers.join("vmlinux"));
    Ok(())
}
