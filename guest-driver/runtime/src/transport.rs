//! How a client's batches reach its mediator, and how its threads sleep for answers.

mod device;
mod local;

use std::io;
use std::time::Duration;

use weir_wire::arena::Arena;

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no device file for this API.
    #[error("there is no Weir device for `{0}`")]
    NoDevice(String),
    /// The device file named by the environment is for another API.
    #[error("{path} is for `{found}`, not for `{wanted}`")]
    OtherApi {
        /// The device file.
        path: String,
        /// The API that it executes.
        found: String,
        /// The API that was asked for.
        wanted: String,
    },
    /// The kernel module is of another version.
    #[error("{path} speaks version {found}, not {wanted}")]
    Version {
        /// The device file or socket.
        path: String,
        /// Its version.
        found: u32,
        /// This library's version.
        wanted: u32,
    },
    /// A step of the start failed.
    #[error("{step} {path}")]
    Step {
        /// What was being done.
        step: &'static str,
        /// To which file.
        path: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The mediator refused to take on another client.
    #[error("{path}: the mediator refuses a new client (status {status})")]
    Refused {
        /// The device file or socket.
        path: String,
        /// The status that it gave.
        status: u32,
    },
}

/// What became of a sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sleep {
    /// The word may have changed; the caller looks.
    Look,
    /// There will be no answer any more.
    Gone,
}

/// A way to the mediator.
pub trait Transport: Send + Sync {
    /// Announces `len` bytes of commands at `offset` of the arena. Announcements are taken in order.
    fn submit(&self, offset: u32, len: u32) -> io::Result<()>;

    /// Sleeps while the word at `offset` of `arena` is `value`, at most for about `limit`.
    fn wait(&self, arena: &Arena, offset: u32, value: u32, limit: Duration) -> Sleep;
}

/// Becomes a client for `api`: over the socket that `WEIR_SOCKET_` and its name in capitals, or
/// `WEIR_SOCKET`, names; else through the device file that `WEIR_DEVICE` names; else through the first
/// device file of that API.
pub fn open(api: &str) -> Result<(Arena, Box<dyn Transport>), Error> {
    let named = |name: &str| std::env::var_os(name).filter(|path| !path.is_empty());
    let own = format!("WEIR_SOCKET_{}", api.to_uppercase());
    match named(&own).or_else(|| named("WEIR_SOCKET")) {
        Some(path) => {
            let (arena, transport) = local::open(path.as_ref())?;
            Ok((arena, Box::new(transport)))
        }
        None => {
            let (arena, transport) = device::open(api)?;
            Ok((arena, Box::new(transport)))
        }
    }
}
