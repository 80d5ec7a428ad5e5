//! Local tenants under a `weir up` of their own, and loads in them.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;

use crate::process;
use crate::product::Local;

/// How long anything may take to begin or to end.
const PATIENCE: Duration = Duration::from_secs(30);
/// Time between samples of a recording.
const INTERVAL: &str = "50ms";

/// What a load says at its end.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Report {
    /// Kernels that it has run.
    pub kernels: u64,
    /// For how long.
    pub seconds: f64,
    /// From giving a kernel to the device until it was done, for 99 of 100, in microseconds.
    pub p99_us: f64,
}

/// A running `weir up`. Dropping it ends it.
pub struct Fleet<'a> {
    product: &'a Local,
    config: PathBuf,
    state: PathBuf,
    log: PathBuf,
    up: Child,
}

impl<'a> Fleet<'a> {
    /// Starts tenants of these names and weights, shared by `policy`, with all files about it in
    /// `folder` under `name`.
    ///
    /// # Errors
    /// `weir up` does not start.
    pub fn start(
        product: &'a Local,
        folder: &Path,
        name: &str,
        policy: Option<&str>,
        tenants: &[(String, u32)],
    ) -> Result<Self> {
        let mut text =
            "[accelerator.gpu0]\napi = \"opencl\"\nplatform = \"Portable Computing Language\"\n"
                .to_owned();
        if let Some(policy) = policy {
            let _ = writeln!(text, "policy = \"{policy}\"");
        }
        for (tenant, share) in tenants {
            let _ = writeln!(
                text,
                "[tenant.{tenant}]\naccelerators.gpu0 = {{ share = {share} }}"
            );
        }
        let config = folder.join(format!("{name}.toml"));
        fs::write(&config, text)?;
        let log = folder.join(format!("{name}.log"));
        // Short, for paths of sockets must be.
        let state = std::env::temp_dir().join(format!("weir-fairness-{}", std::process::id()));
        let up = Command::new(product.bin.join("weir"))
            .arg("up")
            .arg(&config)
            .arg("--state-dir")
            .arg(&state)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log)?)
            .spawn()
            .context("starting weir up")?;
        let mut fleet = Self {
            product,
            config,
            state,
            log,
            up,
        };
        fleet.wait_until_running(tenants.len())?;
        Ok(fleet)
    }

    fn weir(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.product.bin.join("weir"));
        command.args(arguments).arg("--state-dir").arg(&self.state);
        command.stdin(Stdio::null());
        command
    }

    fn wait_until_running(&mut self, count: usize) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.up.try_wait()? {
                let said = fs::read_to_string(&self.log).unwrap_or_default();
                bail!(
                    "weir up ended with {status}: {}",
                    process::last_lines(&said, 5)
                );
            }
            let answer = self
                .weir(&["ps", "--json"])
                .stderr(Stdio::null())
                .output()?;
            let said = String::from_utf8_lossy(&answer.stdout);
            if said.matches("\"state\":\"running\"").count() == count {
                return Ok(());
            }
            ensure!(Instant::now() < until, "the tenants do not start: {said}");
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Starts a load as `tenant`.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn load(&self, tenant: &str, options: &[String]) -> Result<Load> {
        let mut command = Command::new(self.product.bin.join("weir"));
        command
            .arg("exec")
            .arg("--config")
            .arg(&self.config)
            .args(["--tenant", tenant])
            .arg("--state-dir")
            .arg(&self.state)
            .arg("--")
            .arg(self.product.programs.join("load"))
            .args(options);
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {}", process::describe(&command)))?;
        Ok(Load(Some(child)))
    }

    /// Records for `time` into `file`.
    ///
    /// # Errors
    /// That fails.
    pub fn record(&self, file: &Path, time: Duration) -> Result<()> {
        let length = format!("{}ms", time.as_millis());
        let mut command = self.weir(&["record", "--interval", INTERVAL, "--for", &length]);
        process::run(command.arg(file))
    }
}

impl Drop for Fleet<'_> {
    fn drop(&mut self) {
        end(&mut self.up);
        let _ = fs::remove_dir_all(&self.state);
    }
}

/// A running load. Dropping it ends it.
pub struct Load(Option<Child>);

impl Load {
    /// Asks it to end. Returns what it says, if it says anything.
    ///
    /// # Errors
    /// It failed, before or now.
    pub fn finish(mut self) -> Result<Report> {
        let mut child = self.0.take().context("a load ends once")?;
        if let Some(status) = child.try_wait()? {
            let output = child.wait_with_output()?;
            let said = String::from_utf8_lossy(&output.stderr);
            bail!(
                "a load ended early, with {status}: {}",
                process::last_lines(&said, 5)
            );
        }
        end(&mut child);
        let output = child.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        serde_json::from_str(text.trim()).with_context(|| {
            let said = String::from_utf8_lossy(&output.stderr);
            format!(
                "a load said nothing of use: {text}{}",
                process::last_lines(&said, 5)
            )
        })
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            end(child);
        }
    }
}

/// Asks `child` to end, and makes it if it does not.
fn end(child: &mut Child) {
    if let Ok(None) = child.try_wait() {
        // It has not been waited for, so its number is not another's.
        if let Ok(pid) = i32::try_from(child.id()).map(Pid::from_raw)
            && let Some(pid) = pid
        {
            let _ = kill_process(pid, Signal::TERM);
        }
    }
    let until = Instant::now() + PATIENCE;
    while let Ok(None) = child.try_wait() {
        if Instant::now() > until {
            let _ = child.kill();
            let _ = child.wait();
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
}
