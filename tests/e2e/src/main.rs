//! Tests with real guests.
fn main() {}
