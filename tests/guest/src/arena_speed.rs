//! How fast memory copies are through an arena, beside ordinary memory.

use std::time::{Duration, Instant};

use anyhow::Result;
use weir_wire::arena::DATA_OFFSET;
use weir_wire::shared::SharedMemory;

use crate::device::Client;

/// Bytes of each copy.
const SIZE: usize = 4 << 20;
/// Copies of each kind, after one that touches the pages.
const ROUNDS: usize = 9;

/// Copies `SIZE` bytes into and out of `memory` at `offset`, and returns the median time.
fn median(memory: &SharedMemory, offset: u64, buffer: &mut [u8]) -> Result<Duration> {
    let mut times = Vec::new();
    for round in 0..=ROUNDS {
        let began = Instant::now();
        memory.write(offset, buffer)?;
        memory.read(offset, buffer)?;
        if round > 0 {
            times.push(began.elapsed());
        }
    }
    times.sort();
    Ok(times[ROUNDS / 2])
}

/// Prints both medians and, in a line of its own, how many times as long the arena takes.
pub fn run(device: &str) -> Result<()> {
    let client = Client::open(device, 16 << 20)?;
    let (ordinary, _file) = SharedMemory::create("ordinary", SIZE as u64)?;
    let mut buffer = vec![7; SIZE];
    let arena = median(&client.arena, DATA_OFFSET, &mut buffer)?;
    let ordinary = median(&ordinary, 0, &mut buffer)?;
    println!("{SIZE} bytes there and back: arena {arena:?}, ordinary memory {ordinary:?}");
    println!("ratio {:.2}", arena.as_secs_f64() / ordinary.as_secs_f64());
    Ok(())
}
