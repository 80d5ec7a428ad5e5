//! Weir's virtual machine monitor and its supervisor, as the program `weir` uses them.
//!
//! From the bottom up: [`layout`] says where everything lies; [`memory`], [`kvm`], [`boot`],
//! [`acpi`], [`pci`] and [`legacy`] each make one part of a machine; [`devices`] makes what is on
//! its bus; [`machine`] puts them together; [`run`] runs a machine to its end with the [`session`]
//! round it. [`opened`] holds what a machine needs open before [`sandbox`] shuts its process in.
//! [`cache`] says where workers keep what they compile. [`config`] and [`cli`] are the
//! user's side; [`supervisor`] runs several machines, and [`watch`] shows what they do.

pub mod accelerators;
pub mod acpi;
pub mod arbiter;
pub mod boot;
pub mod cache;
pub mod cli;
pub mod config;
pub mod console;
pub mod devices;
pub mod doctor;
pub mod end;
pub mod kvm;
pub mod layout;
pub mod legacy;
pub mod local;
pub mod machine;
pub mod memory;
pub mod opened;
pub mod pci;
pub mod platform;
pub mod run;
pub mod sandbox;
pub mod session;
pub mod signals;
pub mod spec;
pub mod status;
pub mod supervisor;
pub mod watch;
