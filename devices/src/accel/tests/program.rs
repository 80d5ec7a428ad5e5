//! Workers that are processes: how they are started and ended.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec};

use super::super::worker::{Launch, Process, Program};
use super::eventually;

struct Script {
    directory: tempfile::TempDir,
}

impl Script {
    fn new(text: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("worker");
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        Self { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn launch(&self) -> Box<dyn Process> {
        let mut program = Program {
            worker: self.path("worker"),
            cache_dir: self.path(""),
        };
        program.launch().unwrap()
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.path("said")).unwrap_or_default()
    }
}

fn has_exited(process: &dyn Process) -> bool {
    let exited = process.exited();
    let mut polled = [PollFd::new(&exited, PollFlags::IN)];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    rustix::event::poll(&mut polled, Some(&now)).unwrap() == 1
}

#[test]
fn it_gets_its_socket_and_nothing_on_standard_input() {
    let script = Script::new(
        "readlink /proc/$$/fd/$2 /proc/$$/fd/0 > $4/words; echo $1 $3 >> $4/words\n\
         mv $4/words $4/said; exec sleep 100",
    );
    let mut process = script.launch();
    eventually("it says something", || !script.said().is_empty());
    let said = script.said();
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("socket:"), "{said}");
    assert_eq!(lines[1..], ["/dev/null", "--socket --cache"]);
    assert!(!has_exited(process.as_ref()));
    assert!(Path::new(&format!("/proc/{}", process.pid())).exists());
    process.kill();
    eventually("it is gone", || has_exited(process.as_ref()));
    assert!(process.reap().contains("signal: 9"));
    assert!(!Path::new(&format!("/proc/{}", process.pid())).exists());
}

#[test]
fn how_it_ended_is_known() {
    let script = Script::new("exit 3");
    let mut process = script.launch();
    eventually("it is gone", || has_exited(process.as_ref()));
    assert_eq!(process.reap(), "exit status: 3");
}

#[test]
fn a_program_that_is_not_there_is_an_error() {
    let mut program = Program {
        worker: "/nonexistent/worker".into(),
        cache_dir: "/".into(),
    };
    assert!(program.launch().is_err());
}
