//! Two guests under one supervisor, which most tests share.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::artifacts::Artifacts;
use crate::console::Console;
use crate::emulator;

/// Time for a guest to boot, or to shut down, on a slow machine.
pub const BOOT: Duration = Duration::from_secs(150);
/// Device memory of each guest, in bytes.
pub const QUOTA: u64 = 256 << 20;

/// `weir up` with the guests `alice` (share 3) and `bob` (share 1).
pub struct Fleet {
    /// Alice's shell.
    pub alice: Console,
    /// Bob's shell.
    pub bob: Console,
    // Last, so that it outlives the consoles.
    supervisor: Supervisor,
}

/// The process `weir up`. Dropping it ends it.
struct Supervisor {
    child: Child,
    state: TempDir,
    artifacts: Artifacts,
}

static FLEET: Mutex<Option<Fleet>> = Mutex::new(None);

/// Runs `test` with the shared fleet, which is started if there is none, or none in a known state.
pub fn with<T>(artifacts: &Artifacts, test: impl FnOnce(&mut Fleet) -> Result<T>) -> Result<T> {
    let mut shared = FLEET.lock().unwrap_or_else(PoisonError::into_inner);
    // Out of its place while the test runs: a fleet that a failed test leaves is not used again.
    let mut fleet = match shared.take() {
        Some(fleet) => fleet,
        None => Fleet::start(artifacts)?,
    };
    let result = test(&mut fleet)?;
    *shared = Some(fleet);
    Ok(result)
}

/// Ends the shared fleet.
pub fn end() -> Result<()> {
    match FLEET.lock().unwrap_or_else(PoisonError::into_inner).take() {
        Some(fleet) => fleet.end(),
        None => Ok(()),
    }
}

impl Supervisor {
    fn start(artifacts: &Artifacts) -> Result<Supervisor> {
        let state = TempDir::with_prefix_in("fleet-", &artifacts.scratch)?;
        let config = state.path().join("fleet.toml");
        fs::write(&config, configuration(artifacts))?;
        let child = artifacts
            .weir()
            .arg("up")
            .arg(&config)
            .arg("--state-dir")
            .arg(state.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("starting weir up")?;
        Ok(Supervisor {
            child,
            state,
            artifacts: artifacts.clone(),
        })
    }

    fn weir(&self, subcommand: &str) -> Command {
        let mut command = self.artifacts.weir();
        command
            .arg(subcommand)
            .arg("--state-dir")
            .arg(self.state.path());
        command
    }

    fn ps(&self, name: &str) -> Result<Value> {
        let output = self.weir("ps").arg("--json").output()?;
        let text = String::from_utf8(output.stdout)?;
        let all: Value = serde_json::from_str(text.trim())
            .with_context(|| format!("weir ps --json printed {text:?}"))?;
        let vms = all["vms"].as_array().context("ps lists machines")?;
        let found = vms.iter().find(|vm| vm["name"] == name);
        found
            .cloned()
            .with_context(|| format!("ps lists no {name}"))
    }

    /// Attaches to the console of guest `name` and waits for a shell that can use the accelerator.
    fn attach(&self, name: &str) -> Result<Console> {
        let began = Instant::now();
        loop {
            let mut command = self.weir("console");
            command.arg(name).arg("--replay").stderr(Stdio::null());
            let mut console = Console::start(command)?;
            match console.log_in(BOOT) {
                Ok(()) => {
                    console
                        .sh_ok("sh /weir/setup", BOOT)
                        .context("bringing the accelerator up")?;
                    return Ok(console);
                }
                Err(_) if began.elapsed() < Duration::from_secs(60) => {
                    // The supervisor is not listening yet.
                    thread::sleep(Duration::from_millis(200));
                }
                Err(error) => return Err(error.context(format!("logging in to {name}"))),
            }
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let pid = rustix::process::Pid::from_child(&self.child);
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        // It passes on the first status of a guest's machine that is not 0.
        if let Ok(status) = self.child.wait() {
            emulator::note(status.code());
        }
    }
}

impl Fleet {
    /// Starts both guests, brings their accelerator up, and waits for their shells.
    pub fn start(artifacts: &Artifacts) -> Result<Fleet> {
        let supervisor = Supervisor::start(artifacts)?;
        let (alice, bob) = (supervisor.attach("alice")?, supervisor.attach("bob")?);
        Ok(Fleet {
            alice,
            bob,
            supervisor,
        })
    }

    /// What `weir ps --json` says of the guest `name`.
    pub fn ps(&self, name: &str) -> Result<Value> {
        self.supervisor.ps(name)
    }

    /// The clients of guest `name`'s accelerator.
    pub fn clients(&self, name: &str) -> Result<Vec<Value>> {
        let vm = self.ps(name)?;
        let clients = vm["accelerators"][0]["clients"].as_array();
        clients.cloned().context("ps lists clients")
    }

    /// Waits until `wanted` holds of guest `name`'s clients, and returns how long that took.
    pub fn wait_for_clients(
        &self,
        name: &str,
        timeout: Duration,
        wanted: impl Fn(&[Value]) -> bool,
    ) -> Result<Duration> {
        let began = Instant::now();
        loop {
            let clients = self.clients(name)?;
            if wanted(&clients) {
                return Ok(began.elapsed());
            }
            if began.elapsed() > timeout {
                bail!("after {timeout:?}, {name}'s clients are {clients:?}");
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Process that runs the guest `name`.
    pub fn vmm_pid(&self, name: &str) -> Result<u64> {
        self.ps(name)?["pid"]
            .as_u64()
            .context("a running machine has a process")
    }

    /// Powers both guests off through the supervisor, which must end cleanly.
    pub fn end(mut self) -> Result<()> {
        let child = &mut self.supervisor.child;
        let pid = rustix::process::Pid::from_child(child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let began = Instant::now();
        while began.elapsed() < BOOT {
            if let Some(status) = child.try_wait()? {
                ensure!(status.success(), "weir up ended with {status}");
                return Ok(());
            }
            thread::sleep(Duration::from_millis(100));
        }
        bail!("weir up does not end")
    }
}

fn configuration(artifacts: &Artifacts) -> String {
    let show = |path: PathBuf| path.display().to_string();
    let vm = |name: &str, share: u32| {
        format!(
            r#"
[vm.{name}]
kernel = "{kernel}"
initrd = "{initrd}"
cpus   = 2
memory = "1GiB"
disks  = [{{ path = "{image}", read_only = true }}, {{ path = "{payload}", read_only = true }}]
accelerators.gpu0 = {{ share = {share}, memory = "{quota}MiB" }}
accelerators.zip0 = {{ memory = "{quota}MiB" }}
"#,
            kernel = show(artifacts.kernel("6.12")),
            initrd = show(artifacts.initrd("6.12")),
            image = show(artifacts.image()),
            payload = show(artifacts.payload.clone()),
            quota = QUOTA >> 20,
        )
    };
    format!(
        "[accelerator.gpu0]\napi = \"opencl\"\nplatform = \"Portable Computing Language\"\n\
         [accelerator.zip0]\napi = \"libdeflate\"\n{}{}",
        vm("alice", 3),
        vm("bob", 1),
    )
}
