//! Building the guest's kernel module.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::kernels::Kernel;
use crate::layout::Layout;
use crate::process;

/// Builds `guest-driver/module` for `kernel`, with the compiler's extra warnings, and returns the module's
/// file. What is made lies beside the kernel, not in the sources.
///
/// # Errors
/// When the build fails, or warns of anything.
pub fn build(layout: &Layout, kernel: &Kernel) -> Result<PathBuf> {
    let folder = kernel.folder().join("weir");
    let output = Command::new("make")
        .arg("-C")
        .arg(layout.root().join("guest-driver/module"))
        .arg(format!("KDIR={}", kernel.headers().display()))
        .arg(format!("BUILD={}", folder.display()))
        .args(["W=1", "--no-print-directory", "modules"])
        // The flags of a make that this may run under are not for the kernel's.
        .env_remove("MAKEFLAGS")
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .output()
        .context("starting make")?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let warned = said.to_lowercase().contains("warning:");
    if warned || !output.status.success() {
        // Objects that stay would keep quiet the next time.
        let _ = fs::remove_dir_all(&folder);
        let what = if warned { "warns" } else { "fails" };
        bail!(
            "building the module for kernel {} {what}:\n{}",
            kernel.release(),
            process::last_lines(&said, 60)
        );
    }
    Ok(folder.join("weir.ko"))
}
