//! Tests of the whole mediator: a toy API, a client without threads round it, and a worker that is a
//! thread of the test.

mod bench;
mod client;
mod flight;
mod local;
mod objects;
mod quota;
mod toy;
mod virtio;
mod worker;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Waits until `condition` holds, but not for ever.
fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Raises a flag when it goes, so that threads end also where a test fails.
struct RaisedAtEnd<'a>(&'a AtomicBool);

impl Drop for RaisedAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
