//! How a worker is given its client.

use std::io::{IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use anyhow::{Context, bail};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, recvmsg, send};
use serde::{Deserialize, Serialize};
use weir_runtime::library::{Accelerator, Library};
use weir_runtime::session::{Session, Wake};
use weir_wire::arena::Arena;
use weir_wire::channel::{CommandReader, CompletionWriter, GateReader};

use crate::dispatch::Dispatcher;

/// Most bytes of a hello.
const MAX_HELLO: usize = 64 << 10;
/// Descriptors that come with it: arena, channel, the worker's event, the VMM's, the wake-up's.
const DESCRIPTORS: usize = 5;

/// What a worker says on its socket.
#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Said {
    /// It is ready for a client.
    Ready(bool),
    /// It is not, for this reason, and ends.
    Error(String),
}

/// What a worker is told with its client's memory.
#[derive(Debug, Deserialize)]
struct Hello {
    arena_size: u64,
    wake: WakeBy,
    accelerators: Vec<Offered>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum WakeBy {
    Event,
    Futex,
}

#[derive(Debug, Deserialize)]
struct Offered {
    api: String,
    platform: String,
    device: usize,
    memory: u64,
}

/// Says something on the socket.
pub(crate) fn say(socket: BorrowedFd<'_>, said: &Said) -> anyhow::Result<()> {
    let text = serde_json::to_vec(said)?;
    send(socket, &text, SendFlags::NOSIGNAL).context("telling the VMM how this worker is")?;
    Ok(())
}

/// Loads the vendor libraries, waits for a client, and serves it until the socket closes. Then the
/// process ends, in the midst of a call or not: this function returns only on errors.
pub(crate) fn serve(socket: &OwnedFd) -> anyhow::Result<()> {
    // A client whose thread is gone would wait for ever; one whose worker is gone gets errors.
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
    let mut libraries = Vec::new();
    for (api, load) in weir_apis::worker::LIBRARIES {
        match load() {
            Ok(library) => libraries.push(library),
            Err(error) => log::warn!("{api} is not there: {:#}", anyhow::Error::from(error)),
        }
    }
    if libraries.is_empty() {
        bail!("no API's library could be loaded");
    }
    say(socket.as_fd(), &Said::Ready(true))?;
    let Some((hello, descriptors)) = receive(socket)? else {
        end(); // never needed
    };
    let (dispatcher, gates) = prepare(&libraries, hello, descriptors)?;
    Arc::new(dispatcher).start(gates)?;
    wait_for_end(socket)
}

/// Waits until the VMM closes the socket, or dies, and ends this process.
fn wait_for_end(socket: &OwnedFd) -> ! {
    let mut byte = [0u8; 64];
    loop {
        match rustix::io::read(socket, &mut byte) {
            Err(Errno::INTR) => {}
            Ok(n) if n > 0 => {}
            _ => end(),
        }
    }
}

/// Ends the process at once: the vendor library's threads may be in the midst of a kernel, and its
/// exit handlers would wait for them.
fn end() -> ! {
    let _ = std::io::stderr().flush();
    // SAFETY: ends the process.
    unsafe { libc::_exit(0) }
}

/// The hello and its descriptors; `None` if the socket was closed instead.
fn receive(socket: &OwnedFd) -> anyhow::Result<Option<(Hello, [OwnedFd; DESCRIPTORS])>> {
    let mut text = vec![0; MAX_HELLO];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let len = loop {
        let mut parts = [IoSliceMut::new(&mut text)];
        match recvmsg(socket, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Ok(message) => break message.bytes,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("waiting for a client"),
        }
    };
    if len == 0 {
        return Ok(None);
    }
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            descriptors.extend(received);
        }
    }
    let hello =
        serde_json::from_slice(&text[..len]).context("the VMM's hello is not understood")?;
    match <[OwnedFd; DESCRIPTORS]>::try_from(descriptors) {
        Ok(descriptors) => Ok(Some((hello, descriptors))),
        Err(there) => bail!(
            "the VMM's hello came with {} descriptors instead of {DESCRIPTORS}",
            there.len()
        ),
    }
}

fn prepare(
    libraries: &[Arc<dyn Library>],
    hello: Hello,
    descriptors: [OwnedFd; DESCRIPTORS],
) -> anyhow::Result<(Dispatcher, GateReader)> {
    let [arena, channel, worker, vmm, wake] = descriptors;
    let mut offered = Vec::new();
    for accelerator in hello.accelerators {
        let Some(library) = libraries
            .iter()
            .find(|library| library.api().name == accelerator.api)
        else {
            bail!("the library of {} could not be loaded", accelerator.api);
        };
        library.choose(&Accelerator {
            api: accelerator.api,
            platform: accelerator.platform,
            device: accelerator.device,
            memory: accelerator.memory,
        })?;
        offered.push(Arc::clone(library));
    }
    for (what, file) in [("arena", &arena), ("channel", &channel)] {
        if !weir_wire::shared::is_sealed(file.as_fd()) {
            bail!("the {what}'s memory file is not sealed");
        }
    }
    let arena = Arena::map(&arena, hello.arena_size).context("mapping the arena")?;
    let reader = CommandReader::open(&channel).context("mapping the channel")?;
    let writer = CompletionWriter::open(&channel).context("mapping the channel")?;
    let gates = GateReader::open(&channel).context("mapping the channel")?;
    let wake = match hello.wake {
        WakeBy::Event => Wake::Event(wake),
        WakeBy::Futex => Wake::Futex,
    };
    let session = Session::new(arena, writer, vmm, wake);
    let dispatcher = Dispatcher::new(session, offered, reader, worker);
    Ok((dispatcher.context("waiting for the VMM")?, gates))
}
