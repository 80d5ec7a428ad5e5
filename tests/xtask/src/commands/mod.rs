//! The subcommands: one file each, with its arguments and its `main`.

pub mod rig;
