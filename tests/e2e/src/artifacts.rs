//! What has been built for the tests, and where it is.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Folders and files that `cargo xtask test` prepares; it names them in the environment.
#[derive(Clone, Debug)]
pub struct Artifacts {
    /// Folder of `weir` and `weir-worker`.
    pub bin: PathBuf,
    /// Folder of the guest's kernels, initial ramdisks and disk image.
    pub guest: PathBuf,
    /// Disk with the module, the library and the test programs of each kernel.
    pub payload: PathBuf,
    /// Folder of the test programs.
    pub programs: PathBuf,
    /// Folder for what the tests write.
    pub scratch: PathBuf,
}

impl Artifacts {
    /// Reads the environment.
    pub fn from_env() -> Result<Artifacts> {
        let path = |name: &str| -> Result<PathBuf> {
            let value = env::var_os(name).with_context(|| {
                format!("{name} is not set; run this through `cargo xtask test`")
            })?;
            let path = PathBuf::from(value);
            ensure!(path.exists(), "{name}: {} does not exist", path.display());
            Ok(path)
        };
        Ok(Artifacts {
            bin: path("WEIR_TEST_BIN")?,
            guest: path("WEIR_TEST_GUEST")?,
            payload: path("WEIR_TEST_PAYLOAD")?,
            programs: path("WEIR_TEST_PROGRAMS")?,
            scratch: path("WEIR_TEST_SCRATCH")?,
        })
    }

    /// The `weir` program.
    pub fn weir(&self) -> Command {
        Command::new(self.bin.join("weir"))
    }

    /// The stock kernel of `series`, such as `6.12`.
    pub fn kernel(&self, series: &str) -> PathBuf {
        self.guest.join(series).join("vmlinuz")
    }

    /// The initial ramdisk for the kernel of `series`.
    pub fn initrd(&self, series: &str) -> PathBuf {
        self.guest.join(series).join("initrd.img")
    }

    /// The guest's disk image.
    pub fn image(&self) -> PathBuf {
        self.guest.join("image.ext4")
    }

    /// `weir run` with the stock guest of `series` and without accelerators.
    pub fn run(&self, series: &str) -> Command {
        let mut command = self.weir();
        command.arg("run");
        command.arg("--kernel").arg(self.kernel(series));
        command.arg("--initrd").arg(self.initrd(series));
        command.arg("--disk").arg(read_only(&self.image()));
        command.arg("--disk").arg(read_only(&self.payload));
        command
    }
}

fn read_only(path: &Path) -> String {
    format!("{},ro", path.display())
}
