//! Workers started by a process of its own, for a mediator that can start no programs itself.
//!
//! The worker's program, run as a spawner, is started before the mediator's process is shut in. See
//! the program's own description of what is said on its socket.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, SocketFlags,
    SocketType, recvmsg, send, socketpair,
};

use super::worker::{Launch, Process, Program};

/// A process that starts workers. It ends, and they with it, when the last copy of this is dropped.
#[derive(Clone, Debug)]
pub struct Spawner(Arc<Mutex<Running>>);

#[derive(Debug)]
struct Running {
    /// `None` only while it is being dropped.
    socket: Option<OwnedFd>,
    child: Child,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.socket = None;
        // It ends by the closing of its socket, having ended its workers.
        let _ = self.child.wait();
    }
}

impl Spawner {
    /// Starts it, to start workers as `program` says.
    pub(super) fn start(program: &Program) -> io::Result<Self> {
        let (socket, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        let number = theirs.as_raw_fd();
        let mut command = Command::new(&program.worker);
        command
            .args(["--spawner", &number.to_string()])
            .args(program.arguments())
            .stdin(Stdio::null())
            .stdout(io::stderr().as_fd().try_clone_to_owned()?)
            // Ctrl-C is for whoever started it.
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
        let child = command.spawn()?;
        Ok(Self(Arc::new(Mutex::new(Running {
            socket: Some(socket),
            child,
        }))))
    }

    /// Something that starts the spawner when the first worker is wanted.
    pub(super) fn launcher(program: &Program) -> Box<dyn Launch> {
        Box::new(Late {
            program: program.clone(),
            spawner: None,
        })
    }

    fn request(&self) -> io::Result<(u32, Vec<OwnedFd>)> {
        let running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = || io::Error::other("the process that starts workers is gone");
        let socket = running.socket.as_ref().ok_or_else(gone)?;
        send(socket, b"w", SendFlags::NOSIGNAL).map_err(|_| gone())?;
        let mut number = [0; 4];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let len = loop {
            let mut parts = [IoSliceMut::new(&mut number)];
            match recvmsg(socket, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
                Ok(message) => break message.bytes,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        };
        let mut files = Vec::new();
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = message {
                files.extend(received);
            }
        }
        match len {
            4 => Ok((u32::from_le_bytes(number), files)),
            _ => Err(gone()),
        }
    }
}

impl Launch for Spawner {
    fn launch(&mut self) -> io::Result<Box<dyn Process>> {
        let (pid, files) = self.request()?;
        match <[OwnedFd; 2]>::try_from(files) {
            Ok([socket, leash]) => Ok(Box::new(Leashed { pid, socket, leash })),
            Err(_) => Err(io::Error::other(
                "the worker's program could not be started; the log says why",
            )),
        }
    }
}

/// A spawner that is not started yet.
struct Late {
    program: Program,
    spawner: Option<Spawner>,
}

impl Launch for Late {
    fn launch(&mut self) -> io::Result<Box<dyn Process>> {
        let spawner = match self.spawner.take() {
            Some(spawner) => spawner,
            None => Spawner::start(&self.program)?,
        };
        self.spawner.insert(spawner).launch()
    }
}

/// A worker of a spawner. Dropping it ends it.
struct Leashed {
    pid: u32,
    socket: OwnedFd,
    leash: OwnedFd,
}

impl Process for Leashed {
    fn pid(&self) -> u32 {
        self.pid
    }

    fn exited(&self) -> BorrowedFd<'_> {
        self.leash.as_fd()
    }

    fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn kill(&mut self) {
        // Fails where it has ended already.
        let _ = send(&self.leash, b"k", SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
    }

    fn reap(&mut self) -> String {
        let mut how = [0; 128];
        match rustix::net::recv(&self.leash, &mut how[..], RecvFlags::DONTWAIT) {
            Ok((_, len @ 1..)) => String::from_utf8_lossy(&how[..len.min(128)]).into_owned(),
            Ok(_) => "the process that starts workers has ended".into(),
            Err(_) => "it has not ended".into(),
        }
    }
}
