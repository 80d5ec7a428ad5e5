//! The supervised machines and local tenants: their processes, what these say, and the consoles.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::link::read_line;
use super::protocol::{FromVm, ToVm};
use crate::arbiter::Places;
use crate::sandbox::Level;
use crate::spec::{AcceleratorSpec, TenantSpec, VmSpec};
use weir_devices::accel::AccelStats;

use crate::status::{Kind, VmState, VmStatus};

/// How much of a console is kept for those who attach later.
const REPLAY: usize = 16 << 10;
/// How long a viewer of a console may leave its connection full before it loses it.
const VIEWER_PATIENCE: Duration = Duration::from_secs(5);
/// How long a machine may take to answer with its figures.
const ANSWER_TIME: Duration = Duration::from_secs(5);

/// How machines are started.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The configuration that they are in.
    pub config: PathBuf,
    /// Where their consoles go.
    pub folder: PathBuf,
    /// How long a guest gets to power off.
    pub grace: Duration,
    /// Whether what a guest prints is told as well.
    pub consoles: bool,
    /// How far their processes are shut in.
    pub sandbox: Level,
}

/// What a machine's user is told.
#[derive(Clone, Copy, Debug)]
pub enum News<'a> {
    /// Something happened to the machine.
    Happened(&'a str),
    /// The guest printed a line.
    Printed(&'a str),
}

/// What is to be supervised.
#[derive(Clone, Debug)]
pub struct Member {
    kind: Kind,
    name: String,
    cpus: u32,
    memory: u64,
}

impl Member {
    /// Its name in the configuration.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl From<&VmSpec> for Member {
    fn from(vm: &VmSpec) -> Self {
        Self {
            kind: Kind::Vm,
            name: vm.name.clone(),
            cpus: vm.cpus,
            memory: vm.memory,
        }
    }
}

impl From<&TenantSpec> for Member {
    fn from(tenant: &TenantSpec) -> Self {
        Self {
            kind: Kind::Local,
            name: tenant.name.clone(),
            cpus: 0,
            memory: 0,
        }
    }
}

/// One supervised machine, or local tenant.
pub struct Machine {
    spec: Member,
    console_log: PathBuf,
    started: Instant,
    state: Mutex<State>,
    /// Notified at every change of `state`.
    changed: Condvar,
    console: Mutex<Console>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct State {
    phase: VmState,
    pid: u32,
    /// Way to the process, while it is there.
    link: Option<UnixStream>,
    restarts: u32,
    accelerators: Vec<AccelStats>,
    /// How often the machine has told its figures.
    answers: u64,
    /// How often it has changed a grant.
    changes: u64,
    /// What it has at the arbiters, while it is there.
    places: Places,
    message: Option<String>,
    exit_status: Option<i32>,
    ran: Option<Duration>,
}

#[derive(Default)]
struct Console {
    recent: VecDeque<u8>,
    viewers: Vec<UnixStream>,
}

impl Machine {
    /// Starts the process of the machine or tenant that `spec` describes, which has `places` at the
    /// arbiters. `tell` gets its name and what its user is to know.
    pub fn start(
        spec: impl Into<Member>,
        mut places: Places,
        launch: &Launch,
        tell: impl Fn(&str, News<'_>) + Send + Sync + 'static,
    ) -> io::Result<Arc<Self>> {
        let spec = spec.into();
        let console_log = super::state::console_log(&launch.folder, &spec.name);
        let log = File::create(&console_log)?;
        let (ours, theirs) = UnixStream::pair()?;
        let mut command = command(&spec, launch);
        places.hand_over(&mut command);
        let mut child = command
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C is for the supervisor, which then asks its machines.
            .process_group(0)
            .spawn()?;
        places.handed_over();
        let output = child.stdout.take().expect("piped above");
        let words = child.stderr.take().expect("piped above");
        let machine = Arc::new(Self {
            spec,
            console_log,
            started: Instant::now(),
            state: Mutex::new(State {
                phase: VmState::Starting,
                pid: child.id(),
                link: Some(ours.try_clone()?),
                restarts: 0,
                accelerators: Vec::new(),
                answers: 0,
                changes: 0,
                places,
                message: None,
                exit_status: None,
                ran: None,
            }),
            changed: Condvar::new(),
            console: Mutex::default(),
            threads: Mutex::default(),
        });
        let tell = Arc::new(tell);
        let (console, speech, watch) = (machine.clone(), machine.clone(), machine.clone());
        let (say, shown, show) = (tell.clone(), tell.clone(), launch.consoles);
        let threads = [
            thread::spawn(move || {
                let mut lines = Lines::default();
                console.copy_console(output, log, |bytes| {
                    if show {
                        lines.take(bytes, |line| shown(&console.spec.name, News::Printed(line)));
                    }
                });
            }),
            thread::spawn(move || {
                let mut words = BufReader::new(words);
                while let Ok(Some(line)) = read_line(&mut words) {
                    // What it says last, as it ends; the rest are remarks on the way.
                    let last = line.strip_prefix("weir: ");
                    if let Some(last) = last {
                        speech.state().message = Some(last.to_owned());
                    }
                    if last.is_none() {
                        say(&speech.spec.name, News::Happened(&line));
                    }
                }
            }),
        ];
        let watcher = thread::spawn(move || watch.watch(child, ours, threads, &*tell));
        machine.lock_threads().push(watcher);
        Ok(machine)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// Whether it is a machine, with a console.
    pub fn is_vm(&self) -> bool {
        self.spec.kind == Kind::Vm
    }

    /// Where its console is written.
    pub fn console_log(&self) -> &Path {
        &self.console_log
    }

    /// The process that runs it, or ran it.
    pub fn pid(&self) -> u32 {
        self.state().pid
    }

    /// Whether it has ended.
    pub fn ended(&self) -> bool {
        self.state().phase == VmState::Ended
    }

    /// Waits until it has ended, or `time` is over; answers whether it has.
    pub fn wait(&self, time: Duration) -> bool {
        let (state, _) = self
            .changed
            .wait_timeout_while(self.state(), time, |state| state.phase != VmState::Ended)
            .unwrap_or_else(PoisonError::into_inner);
        state.phase == VmState::Ended
    }

    /// Waits for the threads of a machine that has ended.
    pub fn join(&self) {
        let threads = std::mem::take(&mut *self.lock_threads());
        for thread in threads {
            if thread.join().is_err() {
                log::error!("a thread that watched machine {} panicked", self.name());
            }
        }
    }

    /// Present figures of all of `machines`, which are asked at the same time. Those of a machine
    /// that does not answer may be old.
    pub fn statuses(machines: &[Arc<Self>]) -> Vec<VmStatus> {
        let until = Instant::now() + ANSWER_TIME;
        let asked: Vec<_> = machines.iter().map(|machine| machine.ask()).collect();
        let each = machines.iter().zip(asked);
        each.map(|(machine, before)| machine.status(before, until))
            .collect()
    }

    /// Asks for the present figures. Returns how many answers there were before, if one is coming.
    fn ask(&self) -> Option<u64> {
        let before = {
            let state = self.state();
            // One that has not started yet has nothing to tell, and answers once it has.
            (state.phase != VmState::Starting).then_some(state.answers)?
        };
        self.send(&ToVm::Status).ok().map(|()| before)
    }

    /// What is known, once there are more than `before` answers or it is `until`.
    fn status(&self, before: Option<u64>, until: Instant) -> VmStatus {
        let waiting =
            |state: &mut State| Some(state.answers) == before && state.phase != VmState::Ended;
        let patience = until.saturating_duration_since(Instant::now());
        let waited = self
            .changed
            .wait_timeout_while(self.state(), patience, waiting);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        let ended = state.phase == VmState::Ended;
        let uptime = *state.ran.get_or_insert_with(|| self.started.elapsed());
        if !ended {
            state.ran = None;
        }
        VmStatus {
            name: self.spec.name.clone(),
            kind: self.spec.kind,
            pid: (!ended).then_some(state.pid),
            state: state.phase,
            uptime_seconds: uptime.as_secs_f64(),
            cpus: self.spec.cpus,
            memory: self.spec.memory,
            restarts: state.restarts,
            exit_status: state.exit_status,
            message: state.message.clone(),
            console: (self.spec.kind == Kind::Vm).then(|| self.console_log.clone()),
            accelerators: state.accelerators.clone(),
        }
    }

    /// Lets the machine use so much of an accelerator as `grant` says. Returns what is to be said
    /// about it.
    ///
    /// # Errors
    /// A sentence that says why it does not.
    pub fn set(&self, grant: &AcceleratorSpec) -> Result<Option<String>, String> {
        let before = self.state().changes;
        let gone = || format!("`{}` has ended", self.name());
        let message = ToVm::Set {
            grant: grant.clone(),
        };
        self.send(&message).map_err(|_| gone())?;
        self.state().places.set(grant);
        let waiting = |state: &mut State| state.changes == before && state.phase != VmState::Ended;
        let (state, _) = self
            .changed
            .wait_timeout_while(self.state(), ANSWER_TIME, waiting)
            .unwrap_or_else(PoisonError::into_inner);
        match state.changes != before {
            true => Ok(None),
            false if state.phase == VmState::Ended => Err(gone()),
            false => Ok(Some(format!(
                "`{}` does not answer; the change takes effect when it does",
                self.name()
            ))),
        }
    }

    /// Asks the guest to power off, or ends the machine at once.
    pub fn stop(&self, now: bool, grace_ms: Option<u64>) {
        let mut state = self.state();
        if state.phase == VmState::Ended || (state.phase == VmState::Stopping && !now) {
            return;
        }
        state.phase = VmState::Stopping;
        drop(state);
        if let Err(error) = self.send(&ToVm::Stop { now, grace_ms }) {
            log::debug!("stopping {}: {error}", self.name());
        }
    }

    /// Ends the process, which no longer listens.
    pub fn kill(&self) {
        let state = self.state();
        let pid = i32::try_from(state.pid)
            .ok()
            .and_then(rustix::process::Pid::from_raw);
        if let (Some(pid), true) = (pid, state.phase != VmState::Ended) {
            // The process is still ours to wait for, so its number is not another's yet.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }

    /// Lets `viewer` see the console from now on, or with the last of what was there.
    pub fn attach(&self, mut viewer: UnixStream, replay: bool) -> io::Result<()> {
        let mut console = self.console();
        viewer.set_write_timeout(Some(VIEWER_PATIENCE))?;
        if replay {
            let (first, second) = console.recent.as_slices();
            viewer.write_all(first)?;
            viewer.write_all(second)?;
        }
        if self.ended() {
            viewer.shutdown(std::net::Shutdown::Both)?;
        } else {
            console.viewers.push(viewer);
        }
        Ok(())
    }

    /// Types `bytes` at the console.
    pub fn type_in(&self, bytes: &[u8]) -> io::Result<()> {
        let bytes = bytes.to_vec();
        self.send(&ToVm::Input { bytes })
    }

    fn send(&self, message: &ToVm) -> io::Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        match &mut self.state().link {
            Some(link) => link.write_all(&line),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Copies the console to its log, to all viewers and to `also` until the process closes it.
    fn copy_console(&self, mut output: impl Read, mut log: File, mut also: impl FnMut(&[u8])) {
        let mut bytes = [0; 4096];
        loop {
            let len = match output.read(&mut bytes) {
                Ok(0) => break,
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => break,
            };
            if let Err(error) = log.write_all(&bytes[..len]) {
                log::warn!("writing {}: {error}", self.console_log.display());
            }
            also(&bytes[..len]);
            let mut console = self.console();
            console
                .viewers
                .retain_mut(|viewer| viewer.write_all(&bytes[..len]).is_ok());
            console.recent.extend(&bytes[..len]);
            let excess = console.recent.len().saturating_sub(REPLAY);
            console.recent.drain(..excess);
        }
    }

    /// Follows what the process says, then its end.
    fn watch(
        &self,
        mut child: Child,
        link: UnixStream,
        threads: [JoinHandle<()>; 2],
        tell: &dyn Fn(&str, News<'_>),
    ) {
        let mut link = BufReader::new(link);
        while let Ok(Some(line)) = read_line(&mut link) {
            match serde_json::from_str(&line) {
                Ok(message) => self.take(message, tell),
                Err(error) => log::warn!("{} makes no sense: {error}", self.name()),
            }
        }
        let result = child.wait();
        // All it has said is to be there before it is known to have ended.
        for thread in threads {
            let _ = thread.join();
        }
        let mut state = self.state();
        state.link = None;
        // Others get what it held.
        state.places = Places::default();
        let (status, message) = match result {
            Ok(status) => (exit_code(status), end_message(status)),
            Err(error) => (1, format!("its process cannot be waited for: {error}")),
        };
        let message = state.message.get_or_insert(message).clone();
        state.exit_status = Some(status);
        state.ran = Some(self.started.elapsed());
        state.phase = VmState::Ended;
        drop(state);
        // Viewers see the end of the console as the end of their connection.
        for viewer in self.console().viewers.drain(..) {
            let _ = viewer.shutdown(std::net::Shutdown::Both);
        }
        let suffix = match status {
            0 => String::new(),
            status => format!(" (exit status {status})"),
        };
        tell(self.name(), News::Happened(&format!("{message}{suffix}")));
        self.changed.notify_all();
    }

    fn take(&self, message: FromVm, tell: &dyn Fn(&str, News<'_>)) {
        let mut state = self.state();
        match message {
            FromVm::Running => {
                if state.phase == VmState::Starting {
                    state.phase = VmState::Running;
                }
                tell(self.name(), News::Happened("running"));
            }
            FromVm::Restarting => {
                state.restarts += 1;
                tell(self.name(), News::Happened("the guest restarts"));
            }
            FromVm::Status { accelerators } => {
                state.accelerators = accelerators;
                state.answers += 1;
            }
            FromVm::Set => state.changes += 1,
            FromVm::Ended {
                message,
                accelerators,
            } => {
                state.message = Some(message);
                state.accelerators = accelerators;
            }
        }
        drop(state);
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn console(&self) -> MutexGuard<'_, Console> {
        self.console.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_threads(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a stream of bytes apart into lines fit to be shown among others.
#[derive(Default)]
struct Lines(Vec<u8>);

impl Lines {
    /// Longest line; longer ones are broken.
    const MAX: usize = 4096;

    /// Adds `bytes`, and gives each line that is complete by them to `show`.
    fn take(&mut self, bytes: &[u8], show: impl Fn(&str)) {
        for byte in bytes {
            if *byte == b'\n' || self.0.len() == Self::MAX {
                let line = std::mem::take(&mut self.0);
                show(&String::from_utf8_lossy(&line));
            }
            // What a guest prints must not move the cursor of whoever watches.
            if !byte.is_ascii_control() || *byte == b'\t' {
                self.0.push(*byte);
            }
        }
    }
}

fn command(spec: &Member, launch: &Launch) -> Command {
    // The program that runs now, even if its file has been replaced since.
    let mut command = Command::new("/proc/self/exe");
    command.arg0("weir");
    let grace = format!("{}ms", launch.grace.as_millis().max(1));
    match spec.kind {
        Kind::Vm => command
            .args(["run", "--supervised", "--config"])
            .arg(&launch.config)
            .args(["--vm", &spec.name, "--grace", &grace])
            .args(["--sandbox", launch.sandbox.name()]),
        Kind::Local => command
            .args(["mediate", "--config"])
            .arg(&launch.config)
            .args(["--tenant", &spec.name, "--folder"])
            .arg(&launch.folder)
            .args(["--sandbox", launch.sandbox.name()]),
    };
    command
}

/// The status as a shell would give it.
fn exit_code(status: ExitStatus) -> i32 {
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

fn end_message(status: ExitStatus) -> String {
    match status.signal() {
        Some(signal) => format!("its process was killed by signal {signal}"),
        None => "its process ended".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_and_harmless() {
        let shown = std::cell::RefCell::new(Vec::new());
        let mut lines = Lines::default();
        for piece in [
            &b"one\r\ntw"[..],
            b"o\n\x1b[2Jthree",
            &[b'x'; Lines::MAX],
            b"\n",
        ] {
            lines.take(piece, |line| shown.borrow_mut().push(line.to_owned()));
        }
        let shown = shown.into_inner();
        assert_eq!(shown[..2], ["one", "two"]);
        assert!(shown[2].starts_with("[2Jthreexxx") && shown[2].len() == Lines::MAX);
        assert_eq!(shown.len(), 4);
    }

    #[test]
    fn exit_codes_are_a_shells() {
        assert_eq!(exit_code(ExitStatus::from_raw(3 << 8)), 3);
        assert_eq!(exit_code(ExitStatus::from_raw(9)), 137);
        assert!(end_message(ExitStatus::from_raw(9)).ends_with("signal 9"));
    }
}
