//! The few devices at fixed ports: what a kernel uses before it has looked for anything.

pub mod power;
pub mod pvpanic;
pub mod serial;
