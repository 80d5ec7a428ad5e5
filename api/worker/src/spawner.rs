//! Starts workers for a mediator that is shut in itself and can start no programs any more.
//!
//! ```text
//! mediator ── request: one byte ───────────────▶ spawner
//!          ◀── number, socket, leash ───────────    │ starts
//!                     └────────── leash ────────────┤   worker  (socket to the mediator)
//! ```
//!
//! The *leash* of a worker says how it ended. The worker is killed with all that it started when
//! the mediator writes to the leash or closes it; and all are when the spawner ends, which the
//! system sees to. What a worker prints goes into the log, line by line and only so much of it: it
//! may come from a tenant's code.

use std::collections::HashMap;
use std::io::{IoSlice, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use anyhow::Context;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags,
    SocketType, socketpair,
};
use rustix::process::{Pid, PidfdFlags, Signal};

/// Most lines of what one worker prints that are logged.
const LINES: u32 = 100;
/// Most bytes of such a line.
const LINE: usize = 512;

struct Worker {
    child: Child,
    exited: OwnedFd,
    leash: OwnedFd,
    output: Option<std::io::PipeReader>,
    line: Vec<u8>,
    lines: u32,
    killed: bool,
}

/// Serves requests on `socket` until it closes. Workers are started with `arguments`.
pub(crate) fn serve(socket: &OwnedFd, arguments: &[std::ffi::OsString]) -> anyhow::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .context("dying with the parent")?;
    let mut workers: HashMap<u32, Worker> = HashMap::new();
    loop {
        let (request, events) = wait(socket, &workers)?;
        for (pid, event) in events {
            let Some(worker) = workers.get_mut(&pid) else {
                continue;
            };
            match event {
                Event::Printed => worker.log(pid),
                Event::Leash => worker.kill(),
                Event::Exited => {
                    worker.log(pid);
                    worker.reap();
                    workers.remove(&pid);
                }
            }
        }
        if request {
            let mut byte = [0u8];
            match rustix::net::recv(socket, &mut byte[..], RecvFlags::empty()) {
                Ok((_, 1..)) => answer(socket, arguments, &mut workers)?,
                Err(Errno::INTR) => {}
                _ => break,
            }
        }
    }
    for worker in workers.values_mut() {
        worker.kill();
        worker.reap();
    }
    Ok(())
}

enum Event {
    Printed,
    Leash,
    Exited,
}

/// Waits for a request (the first answer) or something about workers.
fn wait(
    socket: &OwnedFd,
    workers: &HashMap<u32, Worker>,
) -> anyhow::Result<(bool, Vec<(u32, Event)>)> {
    let mut about = Vec::new();
    let mut fds = vec![PollFd::new(socket, PollFlags::IN)];
    for (pid, worker) in workers {
        if let Some(output) = &worker.output {
            about.push((*pid, 0));
            fds.push(PollFd::new(output, PollFlags::IN));
        }
        if !worker.killed {
            about.push((*pid, 1));
            fds.push(PollFd::new(&worker.leash, PollFlags::IN));
        }
        about.push((*pid, 2));
        fds.push(PollFd::new(&worker.exited, PollFlags::IN));
    }
    match poll(&mut fds, None) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error).context("waiting for requests"),
    }
    let ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
    let events = fds[1..].iter().zip(about).filter(|(fd, _)| ready(fd));
    let events = events.map(|(_, (pid, what))| {
        let event = match what {
            0 => Event::Printed,
            1 => Event::Leash,
            _ => Event::Exited,
        };
        (pid, event)
    });
    Ok((ready(&fds[0]), events.collect()))
}

fn answer(
    socket: &OwnedFd,
    arguments: &[std::ffi::OsString],
    workers: &mut HashMap<u32, Worker>,
) -> anyhow::Result<()> {
    match start(arguments) {
        Ok((worker, theirs, leash)) => {
            let pid = worker.child.id();
            workers.insert(pid, worker);
            send(socket, &pid.to_le_bytes(), &[theirs.as_fd(), leash.as_fd()])
        }
        Err(error) => {
            log::error!("starting a worker: {error:#}");
            send(socket, &0u32.to_le_bytes(), &[])
        }
    }
}

fn send(socket: &OwnedFd, bytes: &[u8], files: &[BorrowedFd<'_>]) -> anyhow::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut rights = SendAncillaryBuffer::new(&mut space);
    if !files.is_empty() {
        rights.push(SendAncillaryMessage::ScmRights(files));
    }
    let sent = rustix::net::sendmsg(
        socket,
        &[IoSlice::new(bytes)],
        &mut rights,
        SendFlags::NOSIGNAL,
    );
    match sent {
        // The mediator is gone; the next round sees that.
        Ok(_) | Err(Errno::PIPE | Errno::CONNRESET) => Ok(()),
        Err(error) => Err(error).context("handing a worker over"),
    }
}

/// A new worker, the mediator's end of its socket, and of its leash.
fn start(arguments: &[std::ffi::OsString]) -> anyhow::Result<(Worker, OwnedFd, OwnedFd)> {
    let pair = || {
        socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
    };
    let (socket, theirs) = pair()?;
    let (leash, far_end) = pair()?;
    let (output, print) = std::io::pipe()?;
    rustix::io::ioctl_fionbio(&output, true)?;
    let number = theirs.as_raw_fd();
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["--socket", &number.to_string()])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(print.try_clone()?)
        .stderr(print)
        .process_group(0);
    // SAFETY: between fork and exec only this one system call is made, on a descriptor that is
    // open, and nothing is allocated or locked.
    unsafe {
        command.pre_exec(move || {
            let theirs = BorrowedFd::borrow_raw(number);
            Ok(rustix::io::fcntl_setfd(
                theirs,
                rustix::io::FdFlags::empty(),
            )?)
        });
    }
    let mut child = command.spawn()?;
    match rustix::process::pidfd_open(Pid::from_child(&child), PidfdFlags::empty()) {
        Ok(exited) => {
            let worker = Worker {
                child,
                exited,
                leash,
                output: Some(output),
                line: Vec::new(),
                lines: 0,
                killed: false,
            };
            Ok((worker, socket, far_end))
        }
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(error).context("watching the worker")
        }
    }
}

impl Worker {
    /// Kills it and all of its process group. Until it is reaped, the number is nobody else's.
    fn kill(&mut self) {
        // Fails only where nobody is left.
        let _ = rustix::process::kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        self.killed = true;
    }

    fn reap(&mut self) {
        self.kill();
        let how = match self.child.wait() {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        let _ = rustix::net::send(&self.leash, how.as_bytes(), flags);
    }

    /// Logs what it has printed.
    fn log(&mut self, pid: u32) {
        let Some(output) = &mut self.output else {
            return;
        };
        let mut bytes = [0u8; 4096];
        match output.read(&mut bytes) {
            Ok(0) => self.output = None,
            Ok(len) => {
                for byte in &bytes[..len] {
                    match byte {
                        b'\n' => self.end_line(pid),
                        _ if self.line.len() < LINE => self.line.push(*byte),
                        _ => {}
                    }
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => self.output = None,
        }
    }

    fn end_line(&mut self, pid: u32) {
        let line = std::mem::take(&mut self.line);
        self.lines = self.lines.saturating_add(1);
        match self.lines {
            1..=LINES => {
                let text = String::from_utf8_lossy(&line).escape_debug().to_string();
                log::warn!("worker {pid} prints: {text}");
            }
            n if n == LINES + 1 => log::warn!("worker {pid} prints more, which is not shown"),
            _ => {}
        }
    }
}
