//! The sandboxed process that runs one client's calls on the vendor library.

fn main() {}
