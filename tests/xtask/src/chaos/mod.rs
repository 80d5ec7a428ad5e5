//! The parts of `cargo xtask chaos`: a system under load, and its processes.

pub mod processes;
pub mod system;
