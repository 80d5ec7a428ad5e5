//! A defect of the rig's emulator, told apart from defects of Weir's.
//!
//! QEMU's emulation of AMD-V now and then shuts a busy guest's processor down, or spoils the memory of
//! the machine in which the guests run. It does so as well with QEMU's own machine in Weir's place.
//! In the rig, and only there, a test during which a guest ended that way is run again, and says so.

use std::env;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;

/// Exit status of `weir run` after a processor has shut down.
const TRIPLE_FAULT: i32 = 4;
/// How often a test is run at most.
const ATTEMPTS: u32 = 3;

static SHUT_DOWN: AtomicBool = AtomicBool::new(false);

/// A machine that was not meant to has ended with this exit status.
pub fn note(status: Option<i32>) {
    if status == Some(TRIPLE_FAULT) {
        SHUT_DOWN.store(true, Ordering::Relaxed);
    }
}

/// Runs `test`, again if it failed while the emulator did.
///
/// # Errors
/// Those of `test`.
pub fn retrying(test: impl Fn() -> Result<()>) -> Result<()> {
    let in_rig = env::var_os("WEIR_RIG").is_some();
    for attempt in 1.. {
        SHUT_DOWN.store(false, Ordering::Relaxed);
        let result = test();
        let excused = in_rig && SHUT_DOWN.load(Ordering::Relaxed) && attempt < ATTEMPTS;
        if result.is_ok() || !excused {
            return result;
        }
        println!("(the rig's emulator shut a guest's processor down; once more)");
    }
    unreachable!("the last attempt returns")
}
