//! Debian packages: fetched through an apt of our own ([`Apt`]) and unpacked under `target/`, or
//! installed on the host where nothing else does ([`system`]).

mod apt;
mod sources;
pub mod system;

pub use apt::{Apt, Release, Request};
