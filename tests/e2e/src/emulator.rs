//! A defect of the rig's emulator, told apart from defects of Weir's.
//!
//! QEMU's emulation of AMD-V now and then shuts a busy guest's processor down, or spoils the memory of
//! the machine in which the guests run. It does so as well with QEMU's own machine in Weir's place.
//! Rarely, a guest stops as a whole, deaf to its console and its power button.
//! In the rig, and only there, a test that fails while a guest ended that way is run again, and says
//! so; one that fails each time fails.

use std::env;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;

/// Exit status of `weir run` after a processor has shut down.
const TRIPLE_FAULT: i32 = 4;
/// Exit status of `weir run` after its guest did not hear the power button.
const FORCED: i32 = 5;
/// How often a test is run at most. A machine of 16 processors has been seen to fail in up to four of
/// ten boots, so that three attempts are too few once in some fifteen runs; eight, once in a thousand.
const ATTEMPTS: u32 = 8;

static BROKEN: AtomicBool = AtomicBool::new(false);

/// A machine has ended with this exit status.
pub fn note(status: Option<i32>) {
    if matches!(status, Some(TRIPLE_FAULT | FORCED)) {
        BROKEN.store(true, Ordering::Relaxed);
    }
}

/// Runs `test`, again if it failed while the emulator did.
///
/// # Errors
/// Those of `test`.
pub fn retrying(test: impl Fn() -> Result<()>) -> Result<()> {
    let in_rig = env::var_os("WEIR_RIG").is_some();
    for attempt in 1.. {
        BROKEN.store(false, Ordering::Relaxed);
        let Err(error) = test() else { return Ok(()) };
        if !in_rig || !BROKEN.load(Ordering::Relaxed) || attempt == ATTEMPTS {
            return Err(error);
        }
        println!(
            "(a guest's processor shut down or stopped, as in the rig they may: {error:#}; once more)"
        );
    }
    unreachable!("the last attempt returns")
}
