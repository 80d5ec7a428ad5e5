//! A second API: a library that stands in for the vendor's under its own name.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::artifacts::Artifacts;
use crate::fleet;

const PROGRAM: Duration = Duration::from_secs(240);

/// An ordinary program prints in a guest what it prints on the host, and the time that the host's
/// library took is the tenant's.
pub fn same_as_host(artifacts: &Artifacts) -> Result<()> {
    let output = Command::new(artifacts.programs.join("deflate")).output()?;
    ensure!(
        output.status.success(),
        "on the host: {output:?} is no success"
    );
    let wanted = String::from_utf8(output.stdout)?;
    let (got, used) = fleet::with(artifacts, |fleet| {
        let got = fleet.alice.sh_ok(
            "LD_LIBRARY_PATH=/weir/lib/interposed /weir/programs/deflate",
            PROGRAM,
        )?;
        Ok((got, fleet.ps("alice")?))
    })?;
    ensure!(
        got == wanted,
        "the host prints\n{wanted}and the guest\n{got}"
    );
    let accelerators = used["accelerators"].as_array();
    let zip = accelerators
        .and_then(|all| all.iter().find(|one| one["api"] == "libdeflate"))
        .context("ps lists the accelerator")?;
    let time = zip["device_time_ns"].as_u64();
    ensure!(time > Some(0), "no device time is charged: {zip}");
    Ok(())
}
