//! `weir up` with local tenants, each with programs that check their results all the time.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::processes::{self, Kind};
use crate::layout::Layout;

/// The tenants.
pub const TENANTS: [&str; 3] = ["alice", "bob", "carol"];
/// Programs of each at a time.
const PROGRAMS: usize = 2;
/// How long what should happen at once may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// The test program's status after an error of the API.
const LOST: i32 = 7;

/// A supervisor, its tenants and their load.
pub struct System {
    weir: PathBuf,
    heartbeat: PathBuf,
    /// Folder of everything, whose name is in every process's command line.
    folder: PathBuf,
    supervisor: Child,
    programs: Vec<Program>,
}

struct Program {
    tenant: &'static str,
    child: Child,
}

impl System {
    /// Starts it, in the folder that an earlier one may have left.
    pub fn start(layout: &Layout) -> Result<Self> {
        let folder = layout.target().join("chaos");
        fs::create_dir_all(&folder)?;
        let heartbeat = folder.join("chaos-heartbeat");
        if !heartbeat.exists() {
            compile(layout, &heartbeat)?;
        }
        let mut config = String::from(
            "[accelerator.gpu0]\napi = \"opencl\"\nplatform = \"Portable Computing Language\"\n",
        );
        for tenant in TENANTS {
            config.push_str(&format!(
                "[tenant.{tenant}]\naccelerators.gpu0 = {{ memory = \"128MiB\" }}\n"
            ));
        }
        fs::write(folder.join("chaos.toml"), config)?;
        let weir = layout.target().join("release/weir");
        let log = fs::File::create(folder.join("log"))?;
        let supervisor = Command::new(&weir)
            .arg("up")
            .arg(folder.join("chaos.toml"))
            .arg("--state-dir")
            .arg(folder.join("state"))
            .env("XDG_CACHE_HOME", folder.join("cache"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("starting weir up")?;
        let mut system = Self {
            weir,
            heartbeat,
            folder,
            supervisor,
            programs: Vec::new(),
        };
        system.wait("all tenants run", |system| {
            if let Some(status) = system.supervisor.try_wait()? {
                bail!("weir up ended with {status}: {}", system.log());
            }
            let all = system.ps().unwrap_or_default();
            Ok(all.len() == TENANTS.len() && all.iter().all(|one| one["state"] == "running"))
        })?;
        Ok(system)
    }

    /// The supervisor's number.
    pub fn pid(&self) -> u32 {
        self.supervisor.id()
    }

    /// What it said.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    fn weir(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.weir);
        command
            .args(arguments)
            .arg("--state-dir")
            .arg(self.folder.join("state"))
            .stdin(Stdio::null());
        command
    }

    fn ps(&self) -> Result<Vec<Value>> {
        let output = self
            .weir(&["ps", "--json"])
            .stderr(Stdio::null())
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let all: Value = serde_json::from_str(text.trim())?;
        Ok(all["vms"].as_array().cloned().unwrap_or_default())
    }

    fn exec(&self, tenant: &str, seconds: u32) -> Result<Child> {
        let mut command = self.weir(&["exec", "--tenant", tenant]);
        command
            .arg("--config")
            .arg(self.folder.join("chaos.toml"))
            .arg("--")
            .arg(&self.heartbeat)
            .arg(seconds.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.spawn().context("starting weir exec")
    }

    /// Sees to it that each tenant has its programs.
    pub fn fill(&mut self) -> Result<()> {
        for tenant in TENANTS {
            while self.programs.iter().filter(|p| p.tenant == tenant).count() < PROGRAMS {
                let child = self.exec(tenant, 3600)?;
                self.programs.push(Program { tenant, child });
            }
        }
        self.wait("all programs have a worker", |system| {
            let all = system.ps()?;
            Ok(all.iter().all(|one| {
                let clients = one["accelerators"][0]["clients"].as_array();
                let served = |client: &&Value| client["calls"].as_u64() > Some(5);
                clients.is_some_and(|all| all.iter().filter(served).count() >= PROGRAMS)
            }))
        })
    }

    /// Takes the programs that have ended out: their tenants and statuses.
    fn ended(&mut self) -> Result<Vec<(&'static str, ExitStatus)>> {
        let mut ended = Vec::new();
        let mut left = Vec::new();
        for mut program in std::mem::take(&mut self.programs) {
            match program.child.try_wait()? {
                Some(status) => ended.push((program.tenant, status)),
                None => left.push(program),
            }
        }
        self.programs = left;
        Ok(ended)
    }

    /// Another program of each of `tenants` gets right results.
    fn works(&self, tenants: &[&str]) -> Result<()> {
        for tenant in tenants {
            let status = self.exec(tenant, 0)?.wait()?;
            ensure!(
                status.success(),
                "a new program of {tenant} ended with {status}"
            );
        }
        Ok(())
    }

    /// A worker or a program of `tenant` was killed: at most one program ends, with an error.
    pub fn client_died(&mut self, tenant: &str) -> Result<()> {
        self.works(&TENANTS)?;
        let ended = self.ended()?;
        ensure!(ended.len() <= 1, "more than one program ended: {ended:?}");
        for (whose, status) in ended {
            ensure!(whose == tenant, "{whose} suffered from {tenant}'s loss");
            let expected = [Some(LOST), Some(128 + 9)].contains(&status.code());
            ensure!(expected, "the program ended with {status}");
        }
        // What it held is free again: the living have two memory files each, mapped and open.
        let running = self.programs.iter().filter(|p| p.tenant == tenant).count();
        self.wait("the dead client's memory is free", |system| {
            let mediators = processes::of_kind(system.pid(), Kind::Mediator);
            let of = mediators
                .iter()
                .find(|m| m.tenant.as_deref() == Some(tenant));
            let all = system.ps()?;
            let one = all.iter().find(|one| one["name"] == tenant);
            let clients = one.and_then(|one| one["accelerators"][0]["clients"].as_array());
            let held = of.map_or(usize::MAX, |of| processes::memory_files(of.pid));
            Ok(clients.map_or(usize::MAX, Vec::len) <= running && held <= 4 * running)
        })
    }

    /// The mediator of `tenant`, or what starts its workers, was killed: only its programs end.
    pub fn tenant_died(&mut self, tenant: &str) -> Result<()> {
        let mut ended = Vec::new();
        self.wait("its programs end", |system| {
            ended.extend(system.ended()?);
            Ok(ended.len() >= PROGRAMS)
        })?;
        let others: Vec<&str> = TENANTS
            .into_iter()
            .filter(|other| *other != tenant)
            .collect();
        self.works(&others)?;
        ended.extend(self.ended()?);
        for (whose, status) in &ended {
            ensure!(*whose == tenant, "{whose} suffered from {tenant}'s loss");
            ensure!(
                status.code() == Some(LOST),
                "the program ended with {status}"
            );
        }
        ensure!(
            ended.len() == PROGRAMS,
            "the programs that ended: {ended:?}"
        );
        Ok(())
    }

    /// The supervisor was killed: everything ends by itself.
    pub fn supervisor_died(&mut self) -> Result<()> {
        self.supervisor.wait()?;
        let mut ended = Vec::new();
        self.wait("all programs end", |system| {
            ended.extend(system.ended()?);
            Ok(system.programs.is_empty())
        })?;
        for (whose, status) in ended {
            let lost = status.code() == Some(LOST);
            ensure!(lost, "{whose}'s program ended with {status}");
        }
        Ok(())
    }

    /// Ends all of it, and sees that nothing is left.
    pub fn end(&mut self) -> Result<()> {
        for program in &mut self.programs {
            processes::kill_programs_below(program.child.id());
            let _ = program.child.kill();
            program.child.wait()?;
        }
        self.programs.clear();
        if self.supervisor.try_wait()?.is_none() {
            let pid = rustix::process::Pid::from_child(&self.supervisor);
            rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        }
        self.wait("the supervisor ends", |system| {
            Ok(system.supervisor.try_wait()?.is_some())
        })?;
        let folder = self.folder.display().to_string();
        let mut left = Vec::new();
        self.wait("no process is left", |_| {
            left = processes::naming(&folder);
            Ok(left.is_empty())
        })
        .with_context(|| format!("{left:?}"))?;
        let sockets = fs::read_to_string("/proc/net/unix")?;
        let open = sockets
            .lines()
            .filter(|line| line.contains(&folder))
            .count();
        ensure!(open == 0, "{open} sockets are left");
        Ok(())
    }

    fn wait(&mut self, what: &str, mut until: impl FnMut(&mut Self) -> Result<bool>) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !until(self)? {
            ensure!(Instant::now() < deadline, "waiting in vain until {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for System {
    fn drop(&mut self) {
        // After an error: all that this process started, below it.
        let _ = self.supervisor.kill();
        let _ = self.supervisor.wait();
        for program in &mut self.programs {
            processes::kill_programs_below(program.child.id());
            let _ = program.child.kill();
            let _ = program.child.wait();
        }
    }
}

fn compile(layout: &Layout, to: &std::path::Path) -> Result<()> {
    let status = Command::new("cc")
        .args(["-O1", "-w", "-o"])
        .arg(to)
        .arg(layout.root().join("tests/programs/heartbeat.c"))
        .arg("-lOpenCL")
        .status()
        .context("starting cc")?;
    ensure!(status.success(), "compiling the test program: {status}");
    Ok(())
}
