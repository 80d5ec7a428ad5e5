//! Local tenants: programs of this host that use accelerators as a guest's do, without a machine.
//!
//! ```text
//! weir exec ──starts──▶ program ─ Weir's driver ──socket, arena──▶ mediator ─▶ worker ─▶ device
//! ```
//!
//! The mediator is inside of `weir exec` where the tenant stands alone, and in a process of the
//! supervisor's (`weir mediate`) where `weir up` runs a configuration that has the tenant.
//!
//! | module | what it holds |
//! |---|---|
//! | [`server`] | one tenant's accelerators, each served on a socket |
//! | [`environment`] | what a program must find so that its loader takes Weir's driver |
//! | [`program`] | running it: signals in, status out |
//! | [`folder`] | a folder of this process's own, gone with it |

pub mod environment;
pub mod folder;
pub mod program;
pub mod server;
