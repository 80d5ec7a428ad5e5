//! Real guests for tests and benchmarks: what has been built for them, their consoles, and two of
//! them under one supervisor.

pub mod artifacts;
pub mod bench;
pub mod cases;
pub mod console;
pub mod emulator;
pub mod fleet;
pub mod progress;
