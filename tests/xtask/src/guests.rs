//! Running something where real guests run: on this host's KVM if it can, else in the rig.

use std::ffi::OsString;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::host::{self, Kind};
use crate::layout::Layout;
use crate::product::Product;
use crate::progress;
use crate::rig;

/// Runs `command` with `environment` set, announced as `what`. Returns its exit status and where it
/// ran: `kvm` or `rig`.
///
/// # Errors
/// When it cannot be started.
pub fn run(
    layout: &Layout,
    what: &str,
    command: &[OsString],
    environment: Vec<(OsString, OsString)>,
    timeout: Duration,
) -> Result<(i32, &'static str)> {
    let began = Instant::now();
    let outcome = match host::kind() {
        Kind::Kvm => {
            progress::step(format_args!("{what}, on this host's /dev/kvm"));
            let status = Command::new(&command[0])
                .args(&command[1..])
                .envs(environment)
                .current_dir(layout.root())
                .status()
                .with_context(|| format!("starting {}", command[0].display()))?;
            (status.code().unwrap_or(1), "kvm")
        }
        Kind::Rig(finding) => {
            progress::step(format_args!("{what}, in the rig: {finding}"));
            let mut options = rig::Options::new(layout.root());
            options.environment = environment;
            options.timeout = timeout;
            (i32::from(rig::run(layout, command, &options)?), "rig")
        }
    };
    progress::detail(format_args!("took {:.0?}", began.elapsed()));
    Ok(outcome)
}

/// What `weir-e2e` and `weir-bench` want to know, as they find it in their environment.
///
/// # Errors
/// When the disk for the guests cannot be written.
pub fn environment(layout: &Layout, product: &Product) -> Result<Vec<(OsString, OsString)>> {
    let scratch = layout.target().join("e2e");
    let _ = std::fs::remove_dir_all(&scratch);
    std::fs::create_dir_all(&scratch).context("making a folder for the tests")?;
    let payload = product.payload(layout, "tests", None)?;
    Ok([
        ("WEIR_TEST_BIN", product.bin.as_path()),
        ("WEIR_TEST_GUEST", &layout.guest()),
        ("WEIR_TEST_PAYLOAD", &payload),
        ("WEIR_TEST_PROGRAMS", &product.programs),
        ("WEIR_TEST_SCRATCH", &scratch),
    ]
    .map(|(name, path)| (name.into(), path.into()))
    .into())
}
