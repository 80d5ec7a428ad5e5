//! Over a Unix socket, to a mediator on the same machine. Each message is what the kernel module
//! would send to the device (`docs/device.md`); the arena comes as a file descriptor.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType,
};
use rustix::thread::futex;
use rustix::time::Timespec;
use weir_wire::arena::Arena;

use super::{Error, Sleep, Transport};

const CREATE: u32 = 1;
const SUBMIT: u32 = 3;
const CREATE_REPLY: usize = 24;

/// A connection that is a client.
pub struct Local {
    socket: OwnedFd,
}

/// Connects to the mediator at `path` and starts a client.
pub fn open(path: &Path) -> Result<(Arena, Local), Error> {
    let name = || path.display().to_string();
    let failed = |step, source: io::Error| Error::Step {
        step,
        path: name(),
        source,
    };
    let socket = connect(path).map_err(|e| failed("connecting to", e))?;
    rustix::net::send(&socket, &create_request(), SendFlags::NOSIGNAL)
        .map_err(|e| failed("asking for a client at", e.into()))?;
    let (reply, file) =
        receive_reply(&socket).map_err(|e| failed("waiting for the answer of", e))?;

    let status = u32::from_le_bytes([reply[0], reply[1], reply[2], reply[3]]);
    let size = u64::from_le_bytes(*reply.last_chunk().expect("a reply is longer than 8 bytes"));
    match (status, file) {
        (0, Some(file)) => {
            let arena = Arena::map(file, size).map_err(|e| failed("mapping the arena of", e))?;
            Ok((arena, Local { socket }))
        }
        _ => Err(Error::Refused {
            path: name(),
            status,
        }),
    }
}

fn connect(path: &Path) -> io::Result<OwnedFd> {
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

fn create_request() -> [u8; 40] {
    let mut request = [0; 40];
    request[0..4].copy_from_slice(&CREATE.to_le_bytes());
    request[16..20].copy_from_slice(&std::process::id().to_le_bytes());
    let comm = std::fs::read("/proc/self/comm").unwrap_or_default();
    let comm = comm.trim_ascii_end();
    let len = comm.len().min(15);
    request[24..24 + len].copy_from_slice(&comm[..len]);
    request
}

fn receive_reply(socket: &OwnedFd) -> io::Result<([u8; CREATE_REPLY], Option<OwnedFd>)> {
    let mut reply = [0; CREATE_REPLY];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let flags = RecvFlags::CMSG_CLOEXEC;
        let mut parts = [IoSliceMut::new(&mut reply)];
        match rustix::net::recvmsg(socket, &mut parts, &mut control, flags) {
            Err(rustix::io::Errno::INTR) => {}
            result => break result?,
        }
    };
    if received.bytes != CREATE_REPLY {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let file = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut files) => files.next(),
        _ => None,
    });
    Ok((reply, file))
}

impl Transport for Local {
    fn submit(&self, offset: u32, len: u32) -> io::Result<()> {
        let mut message = [0; 16];
        message[0..4].copy_from_slice(&SUBMIT.to_le_bytes());
        message[8..12].copy_from_slice(&offset.to_le_bytes());
        message[12..16].copy_from_slice(&len.to_le_bytes());
        loop {
            match rustix::net::send(&self.socket, &message, SendFlags::NOSIGNAL) {
                Err(rustix::io::Errno::INTR) => {}
                result => return Ok(result.map(drop)?),
            }
        }
    }

    fn wait(&self, arena: &Arena, offset: u32, value: u32, limit: Duration) -> Sleep {
        let Ok(word) = arena.memory().atomic_u32(u64::from(offset)) else {
            return Sleep::Gone;
        };
        // Nobody wakes a sleeper whose mediator has died; so it looks up from time to time.
        let slice = limit.min(Duration::from_millis(100));
        let slice = Timespec {
            tv_sec: slice.as_secs() as i64,
            tv_nsec: slice.subsec_nanos().into(),
        };
        arena.sleepers().fetch_add(1, Ordering::SeqCst);
        let slept = futex::wait(word, futex::Flags::empty(), value, Some(&slice));
        arena.sleepers().fetch_sub(1, Ordering::SeqCst);
        match slept {
            Err(rustix::io::Errno::TIMEDOUT) if self.is_closed() => Sleep::Gone,
            _ => Sleep::Look,
        }
    }
}

impl Local {
    fn is_closed(&self) -> bool {
        let mut files = [PollFd::new(&self.socket, PollFlags::RDHUP)];
        poll(&mut files, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }
}
