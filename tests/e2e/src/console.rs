//! A guest's shell, on its serial console.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::emulator;

/// How long a machine gets to end: its grace period, and a little more.
const END: Duration = Duration::from_secs(20);

/// What a command in a guest printed, and how it ended.
#[derive(Debug)]
pub struct Output {
    /// Standard output and standard error, carriage returns removed.
    pub text: String,
    /// Exit status.
    pub status: i32,
}

/// A child process whose standard streams are a guest's console.
pub struct Console {
    child: Child,
    received: Receiver<Vec<u8>>,
    seen: String,
    commands: u32,
}

impl Console {
    /// Starts `command` with the console on its standard streams.
    pub fn start(mut command: Command) -> Result<Console> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {command:?}"))?;
        let mut stdout = child.stdout.take().context("the console has an output")?;
        let (sender, received) = mpsc::channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = stdout.read(&mut buffer) {
                if sender.send(buffer[..n].to_vec()).is_err() {
                    break;
                }
            }
        });
        Ok(Console {
            child,
            received,
            seen: String::new(),
            commands: 0,
        })
    }

    /// The process that the console belongs to.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Sends `text` as if typed.
    pub fn send(&mut self, text: &str) -> Result<()> {
        let stdin = self.child.stdin.as_mut().context("the console is closed")?;
        stdin.write_all(text.as_bytes())?;
        Ok(stdin.flush()?)
    }

    /// Waits until `marker` was received and claims everything up to its end.
    pub fn wait_for(&mut self, marker: &str, timeout: Duration) -> Result<String> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(at) = self.seen.find(marker) {
                let rest = self.seen.split_off(at + marker.len());
                return Ok(std::mem::replace(&mut self.seen, rest));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.received.recv_timeout(left) {
                Ok(bytes) => {
                    self.seen
                        .push_str(&String::from_utf8_lossy(&bytes).replace('\r', ""));
                }
                Err(RecvTimeoutError::Timeout) => {
                    bail!(
                        "no {marker:?} within {timeout:?}; the console's end:\n{}",
                        self.tail()
                    )
                }
                Err(RecvTimeoutError::Disconnected) => {
                    bail!(
                        "the console closed before {marker:?}; its end:\n{}",
                        self.tail()
                    )
                }
            }
        }
    }

    fn tail(&self) -> &str {
        let from = self.seen.len().saturating_sub(3000);
        let from = (from..)
            .find(|i| self.seen.is_char_boundary(*i))
            .unwrap_or(0);
        &self.seen[from..]
    }

    /// Waits until a shell answers.
    pub fn log_in(&mut self, timeout: Duration) -> Result<()> {
        self.wait_for("weir-guest: shell", timeout)?;
        // The echo would come between a command and its output, and so would an interactive shell's
        // prompts and its news of jobs; it is none where its errors do not go to the terminal.
        self.send("stty -echo; exec bash --norc 2>/dev/null\n")?;
        self.send("echo ready-$((40 + 2))\n")?;
        self.wait_for("ready-42\n", Duration::from_secs(60))
            .map(drop)
    }

    /// Runs `script` in the guest's shell.
    pub fn sh(&mut self, script: &str, timeout: Duration) -> Result<Output> {
        self.commands += 1;
        let number = self.commands;
        self.send(&format!(
            "{{ {script}\n}} </dev/null 2>&1; echo \"<$?-{number}>\"\n"
        ))?;
        let text = self.wait_for(&format!("-{number}>\n"), timeout)?;
        let end = text.rfind('<').context("a status follows the output")?;
        let status = text[end + 1..]
            .trim_end_matches(&format!("-{number}>\n"))
            .parse()?;
        Ok(Output {
            text: text[..end].to_owned(),
            status,
        })
    }

    /// Runs `script` and fails unless it succeeds; returns what it printed.
    pub fn sh_ok(&mut self, script: &str, timeout: Duration) -> Result<String> {
        let output = self.sh(script, timeout)?;
        if output.status != 0 {
            bail!(
                "`{script}` ended with status {}:\n{}",
                output.status,
                output.text
            );
        }
        Ok(output.text)
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        // A machine that has ended, or does when it is told to, says how.
        if let Ok(None) = self.child.try_wait() {
            while self.received.try_recv().is_ok() {}
            let open = matches!(self.received.try_recv(), Err(TryRecvError::Empty));
            if open {
                let pid = rustix::process::Pid::from_child(&self.child);
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            }
        }
        let until = Instant::now() + END;
        while Instant::now() < until {
            if let Ok(Some(status)) = self.child.try_wait() {
                emulator::note(status.code());
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
