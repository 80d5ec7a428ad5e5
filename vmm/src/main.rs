//! The Weir hypervisor: command line, supervisor and virtual machine monitor.

fn main() {}
