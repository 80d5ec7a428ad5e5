//! The mediator: what stands between a tenant's calls and the accelerator.
//!
//! No call reaches a worker, and so the device, but through here. The files along the way of a call:
//!
//! | file | what happens there |
//! |---|---|
//! | `virtio` | a tenant announces batches: a VM, through two virtqueues |
//! | `local` | or processes of this machine, over a socket |
//! | `mediator` | the one thread: whose turn it is, when to sleep, who wakes it |
//! | `client` | one client: copy → check → meter → admit → forward, and what the worker reports |
//! | `objects` | which handles name something, of what kind, and what it holds |
//! | `meter` | what is counted, and how others read it |
//! | `events` | what the log is told, so much a second |
//! | `admit` | when a command may go |
//! | `gates` | when a command that makes the device work may begin |
//! | `arbiter` | the one scheduler of an accelerator, for all its tenants |
//! | `quota` | the tenant's device memory |
//! | `worker` | processes: started ahead of need, given to one client, ended with it |
//! | `spawner` | how they are started: by a process of its own |
//!
//! `config` says what an accelerator is to be, `protocol` how messages look, `window` where arenas
//! lie; `poller` and `bell` are what the thread sleeps on.
//!
//! Everything that comes from a tenant is hostile, and so is everything that its worker reports,
//! for the worker runs the tenant's code.

mod admit;
pub mod arbiter;
mod bell;
mod client;
mod config;
mod events;
mod gates;
mod limits;
mod local;
mod mediator;
mod meter;
mod objects;
mod poller;
mod protocol;
mod quota;
mod spawner;
#[cfg(test)]
mod tests;
mod virtio;
mod window;
mod worker;

pub use admit::{Admission, Decision, Fifo, Rates, Request};
pub use config::{
    AccelConfig, ConfigError, MAX_ARENA, MAX_CLIENTS, MAX_NAME, MIN_ARENA, Polling, Sharing,
};
pub use limits::Limits;
pub use local::{LocalError, LocalServer};
pub use meter::{AccelHandle, AccelStats, ClientState, ClientStats, Traffic};
pub use spawner::Spawner;
pub use virtio::Accel;
