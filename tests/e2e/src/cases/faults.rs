//! Processes die; what they held is freed, and everybody else goes on.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::artifacts::Artifacts;
use crate::fleet::{self, Fleet};

const QUICK: Duration = Duration::from_secs(60);

fn client<'a>(clients: &'a [Value], comm: &str) -> Option<&'a Value> {
    clients.iter().find(|client| client["comm"] == comm)
}

fn uptime(fleet: &mut Fleet) -> Result<f64> {
    let text = fleet.alice.sh_ok("cut -d' ' -f1 /proc/uptime", QUICK)?;
    Ok(text.trim().parse()?)
}

fn exists(pid: u64) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

/// A guest process that is killed in the midst of a long kernel leaves nothing behind.
pub fn killed_guest_process_leaves_nothing(artifacts: &Artifacts) -> Result<()> {
    fleet::with(artifacts, |fleet| {
        fleet.alice.sh_ok(
            "/weir/programs/longkernel 600 >/tmp/long 2>&1 & echo $! >/tmp/pid",
            QUICK,
        )?;
        let busy = |clients: &[Value]| {
            client(clients, "longkernel").is_some_and(|c| {
                c["memory"].as_u64() > Some(0) && c["worker_pid"].as_u64().is_some()
            })
        };
        fleet.wait_for_clients("alice", 2 * QUICK, busy)?;
        let clients = fleet.clients("alice")?;
        let long = client(&clients, "longkernel")
            .context("it was there")?
            .clone();
        let worker = long["worker_pid"].as_u64().context("it has a worker")?;
        let before = uptime(fleet)?;
        fleet.alice.sh_ok(
            "kill -9 $(cat /tmp/pid); while [ -e /proc/$(cat /tmp/pid)/exe ]; do :; done",
            QUICK,
        )?;
        let took = fleet.wait_for_clients("alice", QUICK, |clients| {
            clients.iter().all(|c| c["id"] != long["id"]) && !exists(worker)
        })?;
        let guest_seconds = uptime(fleet)? - before;
        println!(
            "gone {took:?} after the kill was over, {guest_seconds:.2} s of guest time in all"
        );
        let memory = fleet.ps("alice")?["accelerators"][0]["memory"].as_u64();
        ensure!(memory == Some(0), "alice still holds {memory:?} bytes");
        ensure!(
            took < Duration::from_secs(1),
            "its client was there for {took:?}"
        );
        Ok(())
    })
}

/// A worker that is killed costs its process that device, and nobody else anything.
pub fn killed_worker_costs_one_client(artifacts: &Artifacts) -> Result<()> {
    fleet::with(artifacts, |fleet| {
        fleet.alice.sh_ok(
            "cd /weir/programs; ./heartbeat 600 >/tmp/first 2>&1 & echo $! >/tmp/first.pid; \
             cp ./heartbeat ./survivor; ./survivor 600 >/tmp/second 2>&1 & echo $! >/tmp/second.pid",
            QUICK,
        )?;
        let both = |clients: &[Value]| {
            ["heartbeat", "survivor"].iter().all(|comm| {
                client(clients, comm).is_some_and(|c| {
                    c["calls"].as_u64() > Some(50) || c["memory"].as_u64() > Some(0)
                })
            })
        };
        fleet.wait_for_clients("alice", 2 * QUICK, both)?;
        let clients = fleet.clients("alice")?;
        let worker = client(&clients, "heartbeat").and_then(|c| c["worker_pid"].as_u64());
        let worker = worker.context("heartbeat has a worker")?;
        let pid = rustix::process::Pid::from_raw(worker as i32).context("a process number")?;
        rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
        let lost = fleet.alice.sh(
            "wait $(cat /tmp/first.pid); echo status $?; cat /tmp/first",
            QUICK,
        )?;
        ensure!(
            lost.text.contains("status 7"),
            "heartbeat did not get an error: {}",
            lost.text
        );
        ensure!(
            lost.text.contains("error -"),
            "heartbeat got no OpenCL error: {}",
            lost.text
        );
        let other = fleet
            .alice
            .sh("kill -0 $(cat /tmp/second.pid) && cat /tmp/second", QUICK)?;
        ensure!(other.status == 0, "the other process ended: {}", other.text);
        ensure!(
            !other.text.contains("error"),
            "the other process got an error: {}",
            other.text
        );
        fleet
            .alice
            .sh_ok("cd /weir/programs && ./heartbeat 1", QUICK)
            .context("a new process")?;
        fleet.alice.sh_ok(
            "kill $(cat /tmp/second.pid); wait $(cat /tmp/second.pid); true",
            QUICK,
        )?;
        fleet
            .wait_for_clients("alice", QUICK, <[Value]>::is_empty)
            .map(drop)
    })
}
