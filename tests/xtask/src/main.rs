//! Weir's development tasks: set-up, demo, tests, rig, benchmarks.

fn main() {}
