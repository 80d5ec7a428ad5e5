//! Local tenants: processes of this machine, over a Unix socket. The core is the same as a VM's.
//!
//! A connection is a client: its first message asks for it, the following ones announce batches, and
//! closing it ends the client. The arena comes as a memory file with the answer.

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType,
};

use super::admit::Rates;
use super::client::{Announced, Wake};
use super::config::{AccelConfig, ConfigError};
use super::mediator::{Core, CreateError, Mediator, Transport};
use super::meter::{AccelHandle, Tenant};
use super::poller::{Token, Trigger};
use super::protocol::{Create, Created, MAX_REQUEST, Request, Status, Submit};
use super::spawner::Spawner;
use super::worker::{Launch, Program};

/// Messages taken from one connection before it is the next one's turn.
const MESSAGES_PER_TURN: usize = 64;
const BACKLOG: i32 = 128;
const LISTENER: u32 = 0;

/// Why a local server cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// The accelerator itself cannot be.
    #[error("the accelerator cannot be set up")]
    Config(#[from] ConfigError),
    /// The socket cannot be made.
    #[error("listening on {path}")]
    Listen {
        /// Where it should be.
        path: PathBuf,
        /// Why it cannot.
        #[source]
        source: io::Error,
    },
    /// The mediator's thread or events cannot be had.
    #[error("starting the mediator")]
    Start(#[source] io::Error),
}

/// Serves one accelerator to processes of this machine. Dropping it ends all clients.
pub struct LocalServer {
    path: PathBuf,
    handle: AccelHandle,
    // Ends with the server.
    _mediator: Mediator,
}

impl LocalServer {
    /// Serves the accelerator on a socket at `path`, which the server's own user can reach.
    ///
    /// # Errors
    /// The configuration is wrong, the socket is there already, or the system lacks something.
    pub fn new(config: AccelConfig, path: impl Into<PathBuf>) -> Result<Self, LocalError> {
        let launch: Box<dyn Launch> = match &config.spawner {
            Some(spawner) => Box::new(spawner.clone()),
            None => Spawner::launcher(&Program::of(&config)),
        };
        Self::with_workers(config, path.into(), launch)
    }

    pub(super) fn with_workers(
        config: AccelConfig,
        path: PathBuf,
        launch: Box<dyn Launch>,
    ) -> Result<Self, LocalError> {
        config.check()?;
        let listener = listen(&path).map_err(|source| LocalError::Listen {
            path: path.clone(),
            source,
        })?;
        let tenant = Tenant::new(&config);
        let handle = AccelHandle {
            tenant: tenant.clone(),
        };
        let transport = LocalTransport {
            listener,
            connections: HashMap::new(),
            next: LISTENER,
        };
        let rates = Box::new(Rates::new(tenant.limits.get()));
        let mediator = Mediator::start(Arc::new(config), tenant, launch, rates, transport)
            .map_err(LocalError::Start)?;
        Ok(Self {
            path,
            handle,
            _mediator: mediator,
        })
    }

    /// A view of what the tenant uses.
    pub fn handle(&self) -> AccelHandle {
        self.handle.clone()
    }
}

impl Drop for LocalServer {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn listen(path: &Path) -> io::Result<OwnedFd> {
    use std::os::unix::fs::PermissionsExt;
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket)
}

struct LocalTransport {
    listener: OwnedFd,
    connections: HashMap<u32, Connection>,
    next: u32,
}

struct Connection {
    socket: OwnedFd,
    client: Option<u32>,
}

impl Transport for LocalTransport {
    const IN_MEMORY: bool = false;

    fn start(&mut self, core: &mut Core) -> io::Result<()> {
        let token = Token::Transport(LISTENER);
        core.poller.add(&self.listener, token, Trigger::Level)
    }

    fn look(&mut self, _core: &mut Core) -> bool {
        false
    }

    fn ready(&mut self, core: &mut Core, number: u32) {
        core.tenant().kicks.add(1);
        if number == LISTENER {
            self.accept(core);
        } else if let Some(connection) = self.connections.get_mut(&number)
            && !connection.serve(core)
        {
            self.close(core, number);
        }
    }

    fn before_sleep(&mut self, _core: &mut Core) -> bool {
        false
    }

    fn after_sleep(&mut self, _core: &mut Core) {}
}

impl LocalTransport {
    fn accept(&mut self, core: &mut Core) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = match rustix::net::accept_with(&self.listener, flags) {
            Ok(socket) => socket,
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::CONNABORTED) => return,
            Err(error) => {
                log::warn!("taking a connection: {error}");
                return;
            }
        };
        if self.connections.len() >= 2 * core.config.max_clients as usize {
            log::warn!("too many connections: one more is refused");
            return;
        }
        loop {
            self.next = self.next.wrapping_add(1);
            if self.next != LISTENER && !self.connections.contains_key(&self.next) {
                break;
            }
        }
        let token = Token::Transport(self.next);
        if let Err(error) = core.poller.add(&socket, token, Trigger::Level) {
            log::warn!("watching a connection: {error}");
            return;
        }
        let client = None;
        self.connections
            .insert(self.next, Connection { socket, client });
    }

    fn close(&mut self, core: &mut Core, number: u32) {
        if let Some(connection) = self.connections.remove(&number) {
            core.poller.remove(&connection.socket);
            if let Some(client) = connection.client {
                core.destroy(client);
            }
        }
    }
}

impl Connection {
    /// Takes messages. Returns whether the connection goes on.
    fn serve(&mut self, core: &mut Core) -> bool {
        let mut message = [0; MAX_REQUEST];
        for _ in 0..MESSAGES_PER_TURN {
            let len = match rustix::net::recv(&self.socket, &mut message[..], RecvFlags::empty()) {
                Ok((_, 0)) => return false,
                Ok((_, len)) => len.min(MAX_REQUEST),
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return true,
                Err(_) => return false,
            };
            if !self.message(core, &message[..len]) {
                return false;
            }
        }
        true
    }

    fn message(&mut self, core: &mut Core, message: &[u8]) -> bool {
        if let Some(submit) = Submit::read_message(message) {
            let Some(client) = self.client else {
                core.tenant().strays.add(1);
                return false;
            };
            let announced = Announced {
                offset: submit.offset,
                length: submit.length,
                flags: 0,
            };
            core.announce(client, announced);
            return true;
        }
        match Request::read(message) {
            Some(Request::Create(create)) if self.client.is_none() => self.create(core, create),
            _ => {
                let _ = self.answer(&Status::Malformed.to_bytes::<24>(), None);
                false
            }
        }
    }

    fn create(&mut self, core: &mut Core, create: Create) -> bool {
        let Some(arena_size) = core.config.arena_size(create.arena_size) else {
            return self.answer(&Status::Malformed.to_bytes::<24>(), None);
        };
        // Who it is, the system knows.
        let pid = rustix::net::sockopt::socket_peercred(&self.socket)
            .map_or(0, |peer| peer.pid.as_raw_nonzero().get() as u32);
        match core.create(arena_size, pid, &create.comm, Wake::Futex) {
            Ok(client) => {
                self.client = Some(client);
                let created = Created {
                    client,
                    window_offset: 0,
                    arena_size,
                };
                let arena = core.arena(client).map(|(file, _)| file);
                self.answer(&created.to_bytes(), arena)
            }
            Err(CreateError::TooMany) => self.answer(&Status::TooMany.to_bytes::<24>(), None),
            Err(CreateError::Io(error)) => {
                log::error!("making a client: {error}");
                self.answer(&Status::NoWorker.to_bytes::<24>(), None)
            }
        }
    }

    fn answer(&self, bytes: &[u8], file: Option<std::os::fd::BorrowedFd<'_>>) -> bool {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut rights = SendAncillaryBuffer::new(&mut space);
        let files = file.as_slice();
        if !files.is_empty() {
            let pushed = rights.push(SendAncillaryMessage::ScmRights(files));
            debug_assert!(pushed, "the space is for one file");
        }
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        rustix::net::sendmsg(
            self.socket.as_fd(),
            &[IoSlice::new(bytes)],
            &mut rights,
            flags,
        )
        .is_ok()
    }
}
