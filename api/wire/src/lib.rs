//! The format in which accelerator calls travel, and the checks on it.
//!
//! A call is encoded once, in the guest, and its bytes are what the mediator checks and what the
//! worker decodes; nothing is translated on the way. In the order in which a call meets them:
//!
//! | module | what it lays down |
//! |---|---|
//! | [`arena`] | the memory that a client, the VMM and a worker share: header, lanes, stream, data |
//! | [`command`] | one call: header, a fixed row of words, inline bytes |
//! | [`function`] | what a spec says of a call, as static tables that know no API |
//! | [`check`](mod@check) | a command against its function's table: every length, reference and count |
//! | [`files`] | files that travel with an option string |
//! | [`handle`] | how objects are named |
//! | [`channel`] | the rings between a VMM and one worker |
//! | [`shared`] | memory that somebody else writes at the same time |
//!
//! All integers are little-endian. `docs/wire.md` says the same in prose.

pub mod arena;
pub mod channel;
pub mod check;
pub mod command;
pub mod files;
pub mod function;
pub mod handle;
pub mod shared;

/// Version of everything in this crate that crosses a process or VM boundary.
pub const VERSION: u32 = 1;
