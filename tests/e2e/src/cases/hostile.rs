//! A guest breaks every rule of the device; the machine's monitor, and everybody else, go on.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::artifacts::Artifacts;
use crate::fleet::{self, Fleet};

const LONG: Duration = Duration::from_secs(900);
const QUICK: Duration = Duration::from_secs(120);

/// Open files and resident memory (in KiB) of a process on the host.
fn footprint(pid: u64) -> Result<(usize, u64)> {
    let files = fs::read_dir(format!("/proc/{pid}/fd"))?.count();
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let resident = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))
        .and_then(|rest| rest.trim().split(' ').next())
        .context("/proc tells anonymous memory")?;
    Ok((files, resident.parse()?))
}

/// Runs `abuse` in Alice while programs of hers and Bob's go on, then looks for what it left.
fn under_abuse(artifacts: &Artifacts, abuse: &str, beside: bool) -> Result<()> {
    fleet::with(artifacts, |fleet| {
        let pid = fleet.vmm_pid("alice")?;
        // Once before measuring, so that what is made once is there.
        fleet
            .alice
            .sh_ok("cd /weir/programs && ./heartbeat 1", QUICK)?;
        fleet.wait_for_clients("alice", QUICK, <[Value]>::is_empty)?;
        let before = footprint(pid)?;
        if beside {
            fleet.alice.sh_ok(
                "cd /weir/programs; ./heartbeat 3000 >/tmp/beat 2>&1 & echo $! >/tmp/beat.pid",
                QUICK,
            )?;
        }
        let Fleet { alice, bob, .. } = fleet;
        let (abused, innocent) = std::thread::scope(|scope| {
            let innocent = scope.spawn(|| {
                bob.sh_ok(
                    "for i in 1 2 3; do ( cd /weir/programs && ./heartbeat 2 ) || exit 1; done",
                    LONG,
                )
            });
            (alice.sh_ok(abuse, LONG), innocent.join().expect("no panic"))
        });
        let report = abused.context("the abuse itself")?;
        println!("{}", report.lines().last().unwrap_or_default());
        innocent.context("bob's programs meanwhile")?;
        if beside {
            let beat = fleet
                .alice
                .sh("kill -0 $(cat /tmp/beat.pid) && cat /tmp/beat", QUICK)?;
            ensure!(beat.status == 0, "alice's own program ended: {}", beat.text);
            ensure!(
                !beat.text.contains("error"),
                "alice's own program failed: {}",
                beat.text
            );
            fleet.alice.sh_ok(
                "kill $(cat /tmp/beat.pid); wait $(cat /tmp/beat.pid); true",
                QUICK,
            )?;
        }
        fleet
            .alice
            .sh_ok("cd /weir/programs && ./heartbeat 1", QUICK)
            .context("afterwards")?;
        fleet.wait_for_clients("alice", QUICK, <[Value]>::is_empty)?;
        ensure!(fleet.vmm_pid("alice")? == pid, "alice's process is another");
        let after = footprint(pid)?;
        println!(
            "files {} then {}, memory {} then {} KiB",
            before.0, after.0, before.1, after.1
        );
        ensure!(
            after.0 <= before.0 + 2,
            "open files grew from {} to {}",
            before.0,
            after.0
        );
        ensure!(
            after.1 <= before.1 + (16 << 10),
            "memory grew from {} to {} KiB",
            before.1,
            after.1
        );
        Ok(())
    })
}

/// Malformed batches of commands, beside a well-behaved client.
pub fn malformed_batches(artifacts: &Artifacts) -> Result<()> {
    under_abuse(
        artifacts,
        "/weir/bin/weir-guest-test batches --count 100000",
        true,
    )
}

/// Commands that change while they are checked.
pub fn commands_rewritten_under_check(artifacts: &Artifacts) -> Result<()> {
    under_abuse(
        artifacts,
        "/weir/bin/weir-guest-test rewrite --count 20000",
        true,
    )
}

/// Malformed descriptor chains. The abuser takes the device from the driver, so nothing of Alice's
/// runs beside it.
pub fn malformed_chains(artifacts: &Artifacts) -> Result<()> {
    under_abuse(
        artifacts,
        "/weir/bin/weir-guest-test chains --count 100000",
        false,
    )
}
