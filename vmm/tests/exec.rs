//! `weir exec` from outside: status, signals, limits, and what is left when something is killed. On the
//! host's own OpenCL, with programs of `tests/programs`.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Time for anything; the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);
/// A heartbeat that somebody ends.
const LONG: &str = "600";

/// The working tree's top folder.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The folder that the programs of this build lie in. Worker and driver are built, for they are no
/// dependencies of this test's that cargo knows of.
fn built() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let folder = Path::new(env!("CARGO_BIN_EXE_weir")).parent().unwrap();
        let mut cargo = Command::new(env!("CARGO"));
        cargo
            .args(["build", "--quiet", "-p", "weir-worker", "-p", "weir-opencl"])
            .arg("--target-dir")
            .arg(folder.parent().unwrap())
            .current_dir(root());
        if folder.ends_with("release") {
            cargo.arg("--release");
        }
        assert!(cargo.status().unwrap().success());
        folder.to_owned()
    })
}

/// A test program, built.
fn program(name: &str) -> String {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let mut make = Command::new("make");
        make.args(["--silent", "-C"])
            .arg(root().join("tests/programs"))
            .arg(format!("BUILD={}", folder.path().display()))
            .args(["heartbeat", "quota", "hash"].map(|name| folder.path().join(name)))
            .env_remove("MAKEFLAGS");
        assert!(make.status().unwrap().success());
        folder
    });
    folder.path().join(name).display().to_string()
}

/// `weir` with these arguments; where it keeps things is this test's own, but for root.
fn weir(arguments: &[&str]) -> Command {
    static RUNTIME: OnceLock<tempfile::TempDir> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| tempfile::tempdir().unwrap());
    let mut command = Command::new(built().join("weir"));
    command
        .args(arguments)
        .env("XDG_RUNTIME_DIR", runtime.path())
        .env("OCL_ICD_VENDORS", "/etc/OpenCL/vendors/pocl.icd")
        .stdin(Stdio::null());
    command
}

fn exec(program: &[&str]) -> Output {
    let mut words = vec!["exec", "--"];
    words.extend_from_slice(program);
    weir(&words).output().unwrap()
}

/// Something that runs until the test is over, or before.
struct Running {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Running {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, output }
    }

    /// Starts `weir exec OPTIONS` with a heartbeat, and returns when the heart has beaten.
    fn heartbeat(options: &[&str]) -> Self {
        let beat = program("heartbeat");
        let mut words = vec!["exec"];
        words.extend_from_slice(options);
        words.extend(["--", &beat, LONG, "beats"]);
        let mut running = Self::start(weir(&words));
        assert_eq!(running.line(), "beats\n");
        running
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for the end; the status, and what else it has printed.
    fn end(mut self) -> (Option<i32>, String) {
        until("it ends", || self.child.try_wait().unwrap().is_some());
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "not after {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Parent and time of the start of each process that is no zombie.
fn processes() -> BTreeMap<u32, (u32, u64)> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let process = |entry: fs::DirEntry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        // The name in brackets may have anything in it.
        let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
        if fields[0] == "Z" {
            return None;
        }
        Some((pid, (fields[1].parse().ok()?, fields[19].parse().ok()?)))
    };
    entries.filter_map(process).collect()
}

/// All that `pid` has started, directly or not: number, and time of the start.
fn descendants(pid: u32) -> Vec<(u32, u64)> {
    let all = processes();
    let mut found = Vec::new();
    let mut parents = vec![pid];
    while let Some(parent) = parents.pop() {
        let children = all.iter().filter(|(_, (of, _))| *of == parent);
        for (child, (_, began)) in children {
            parents.push(*child);
            found.push((*child, *began));
        }
    }
    found
}

fn until_gone(these: &[(u32, u64)]) {
    until("all processes are gone", || {
        let all = processes();
        let lives = |(pid, began): &(u32, u64)| all.get(pid).is_some_and(|(_, at)| at == began);
        !these.iter().any(lives)
    });
}

#[test]
fn the_status_is_the_program_s() {
    let status = |program: &[&str]| exec(program).status.code();
    assert_eq!(status(&["true"]), Some(0));
    assert_eq!(status(&["sh", "-c", "exit 7"]), Some(7));
    assert_eq!(status(&["/etc/passwd"]), Some(126));
    assert_eq!(status(&["/nowhere/at/all"]), Some(127));
    assert_eq!(status(&["sh", "-c", "kill -9 $$"]), Some(128 + 9));
    assert_eq!(status(&["sh", "-c", "kill -15 $$"]), Some(128 + 15));
}

#[test]
fn what_cannot_be_had_is_said_in_one_sentence() {
    for (arguments, says) in [
        (
            &["exec", "--platform", "Nobody's", "--", "true"][..],
            "Nobody's",
        ),
        (
            &["exec", "--memory", "12parsecs", "--", "true"],
            "12parsecs",
        ),
        (&["exec", "--api", "nothing", "--", "true"], "nothing"),
        (
            &[
                "exec",
                "--config",
                "/nowhere.toml",
                "--tenant",
                "a",
                "--",
                "true",
            ],
            "/nowhere.toml",
        ),
    ] {
        let output = weir(arguments).output().unwrap();
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(message.contains(says), "{arguments:?}: {message}");
        assert!(!message.contains("panicked"), "{message}");
    }
}

#[test]
fn standard_streams_and_arguments_pass() {
    let mut command = weir(&[
        "exec",
        "--",
        "sh",
        "-c",
        "cat; echo \"$1\" >&2",
        "x",
        "two words",
    ]);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut input, b"to and fro").unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.stdout, b"to and fro");
    assert_eq!(output.stderr, b"two words\n");
}

#[test]
fn signals_are_the_program_s() {
    for (name, signal) in [("TERM", Signal::TERM), ("INT", Signal::INT)] {
        let script =
            format!("trap 'echo caught; exit 3' {name}; echo ready; while :; do sleep 0.1; done");
        let mut running = Running::start(weir(&["exec", "--", "sh", "-c", &script]));
        assert_eq!(running.line(), "ready\n");
        running.signal(signal);
        assert_eq!(running.end(), (Some(3), "caught\n".into()), "{name}");
    }
    let running = Running::heartbeat(&[]);
    running.signal(Signal::TERM);
    assert_eq!(running.end(), (Some(128 + 15), String::new()));
}

#[test]
fn nothing_is_left_of_what_was_killed() {
    let running = Running::heartbeat(&[]);
    let pid = running.child.id();
    let others = descendants(pid);
    assert!(others.len() > 1, "a program and its worker");
    running.signal(Signal::KILL);
    let (status, rest) = running.end();
    assert_eq!((status, rest.as_str()), (None, ""));
    until_gone(&others);
    // Its folder goes with the next one.
    assert_eq!(exec(&["true"]).status.code(), Some(0));
    let folder = |below: &Path| below.join(format!("exec-{pid}"));
    let mut states = vec![PathBuf::from("/run/weir")];
    let runtime = weir(&[]).get_envs().find_map(|(name, value)| {
        (name == "XDG_RUNTIME_DIR").then(|| Path::new(value.unwrap()).join("weir"))
    });
    states.extend(runtime);
    for state in states {
        assert!(!folder(&state).exists(), "{}", state.display());
    }
}

#[test]
fn nothing_is_left_of_a_program_that_ended() {
    let running = Running::heartbeat(&[]);
    let others = descendants(running.child.id());
    running.signal(Signal::INT);
    assert_eq!(running.end().0, Some(128 + 2));
    until_gone(&others);
}

#[test]
fn memory_is_limited() {
    let quota = program("quota");
    let output = weir(&["exec", "--memory", "64MiB", "--", &quota])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(text.starts_with("67108864 bytes in "), "{text}");
}

#[test]
fn two_at_once_do_not_meet() {
    let hash = program("hash");
    let native = Command::new(&hash).arg("/bin/sh").output().unwrap();
    let run = || exec(&[&hash, "/bin/sh"]);
    let (one, two) = std::thread::scope(|scope| {
        let one = scope.spawn(run);
        let two = run();
        (one.join().unwrap(), two)
    });
    for output in [one, two] {
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert_eq!(output.stdout, native.stdout);
    }
}

/// A configuration with a tenant, and a state folder.
fn site() -> (tempfile::TempDir, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("site.toml");
    let text = "[accelerator.gpu0]\napi = \"opencl\"\nplatform = \"Portable Computing Language\"\n\
                [tenant.carol]\naccelerators.gpu0 = { share = 1, memory = \"64MiB\" }\n";
    fs::write(&file, text).unwrap();
    let state = folder.path().join("state").display().to_string();
    (folder, file.display().to_string(), state)
}

#[test]
fn a_tenant_of_no_supervisor_has_its_limits_alone() {
    let (_folder, file, state) = site();
    let words = [
        "exec",
        "--config",
        &file,
        "--tenant",
        "carol",
        "--state-dir",
        &state,
        "--",
    ];
    let mut command = weir(&words);
    let output = command.arg(program("quota")).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.starts_with("67108864 bytes in "), "{text}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("no `weir up` runs here"), "{said}");
}

#[test]
fn programs_outlive_their_killed_supervisor_with_an_error() {
    let (_folder, file, state) = site();
    let supervisor = Running::start(weir(&["up", &file, "--state-dir", &state]));
    let socket = Path::new(&state).join("carol.gpu0.sock");
    until("the tenant is served", || socket.exists());
    let options = [
        "--config",
        &file,
        "--tenant",
        "carol",
        "--state-dir",
        &state,
    ];
    let running = Running::heartbeat(&options);
    let others = descendants(supervisor.child.id());
    assert!(others.len() > 1, "a mediator and a worker");
    supervisor.signal(Signal::KILL);
    // The heart stops with the API's error that the device is gone.
    assert_eq!(running.end(), (Some(7), "error -2\n".into()));
    until_gone(&others);
}
