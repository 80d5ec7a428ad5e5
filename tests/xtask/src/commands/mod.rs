//! The subcommands: one file each, with its arguments and its `main`.

pub mod bench;
pub mod chaos;
pub mod conformance;
pub mod demo;
pub mod fairness;
pub mod host;
pub mod module;
pub mod package;
pub mod rig;
pub mod setup;
pub mod spec;
pub mod test;
