//! Malformed batches, through the driver.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use fastrand::Rng;
use weir_wire::arena::{MIN_SIZE, STREAM_OFFSET, STREAM_SIZE};
use weir_wire::function::Api;

use crate::commands;
use crate::device::Client;

/// Bytes of the arena of each abusive client.
const ARENA: u64 = 2 * MIN_SIZE;

fn api() -> Result<&'static Api> {
    ensure!(!weir_apis::APIS.is_empty(), "there is no API to abuse");
    Ok(weir_apis::APIS[0])
}

/// Waits until at most `left` batches of `client` are in flight, or for a second: a client that was
/// ended is never served again.
fn drain(client: &Client, left: u64) {
    let began = Instant::now();
    while client.in_flight() > left && began.elapsed() < Duration::from_secs(1) {
        thread::sleep(Duration::from_micros(200));
    }
}

/// Submits `count` batches.
pub fn run(device: &str, count: u64, seed: u64) -> Result<()> {
    let api = api()?;
    let mut rng = Rng::with_seed(seed);
    let mut client = Client::open(device, ARENA)?;
    let (mut clients, mut floods) = (1u64, 0u64);
    let mut batch = Vec::new();
    for number in 0..count {
        batch.clear();
        for _ in 0..rng.usize(1..8) {
            commands::append(&mut batch, api, ARENA, &mut rng);
        }
        if rng.u8(..) < 16 {
            batch.truncate(rng.usize(..=batch.len()));
        }
        if rng.u8(..) < 16 {
            (0..rng.usize(..32)).for_each(|_| {
                if let Some(byte) = rng.choice(batch.iter_mut()) {
                    *byte = 0xff;
                }
            });
        }
        // Batches overlap each other on purpose: the device copies what it finds.
        let offset = STREAM_OFFSET + rng.u64(..STREAM_SIZE - 65_536) / 8 * 8;
        client.arena.write(offset, &batch)?;
        let (offset, length) = match rng.u8(..64) {
            0 => (rng.u32(..), rng.u32(..)),
            1 => (offset as u32, u32::MAX),
            2 => (offset as u32 + rng.u32(1..8), batch.len() as u32),
            3 => (0, ARENA as u32),
            _ => (offset as u32, batch.len() as u32),
        };
        let alive = client.submit(offset, length)?;
        if number % 20_000 == 10_000 {
            // More than the device allows to be in flight: the client is to be ended, no one else.
            floods += 1;
            for _ in 0..2_000 {
                if !client.submit(STREAM_OFFSET as u32, STREAM_SIZE as u32)? {
                    break;
                }
            }
        } else if client.in_flight() > 100 {
            drain(&client, 20);
        }
        if !alive || rng.u32(..5_000) == 0 {
            client = Client::open(device, ARENA)?;
            clients += 1;
        }
        if number % 10_000 == 0 {
            println!("abuse: {number} of {count} batches, {clients} clients");
        }
    }
    println!("abuse: {count} batches from {clients} clients, {floods} floods");
    Ok(())
}

/// Submits `count` batches whose bytes another thread changes all the while.
pub fn rewrite(device: &str, count: u64, seed: u64) -> Result<()> {
    let api = api()?;
    let mut rng = Rng::with_seed(seed);
    let mut client = Client::open(device, ARENA)?;
    for round in 0..count.div_ceil(500) {
        let mut batch = Vec::new();
        while batch.len() < 1024 {
            commands::append(&mut batch, api, ARENA, &mut rng);
        }
        client.arena.write(STREAM_OFFSET, &batch)?;
        let over = AtomicBool::new(false);
        let alive = thread::scope(|scope| -> Result<bool> {
            let (arena, over) = (client.arena.clone(), &over);
            let length = batch.len() as u64;
            scope.spawn(move || {
                let mut rng = Rng::with_seed(round);
                while !over.load(Ordering::Relaxed) {
                    let at = STREAM_OFFSET + rng.u64(..length / 4) * 4;
                    let word = rng.u32(..64);
                    arena
                        .atomic_u32(at)
                        .expect("in the stream")
                        .store(word, Ordering::Relaxed);
                }
            });
            let mut alive = true;
            for _ in 0..500 {
                alive &= client.submit(STREAM_OFFSET as u32, batch.len() as u32)?;
                if client.in_flight() > 100 {
                    drain(&client, 20);
                }
            }
            over.store(true, Ordering::Relaxed);
            Ok(alive)
        })?;
        if !alive {
            client = Client::open(device, ARENA)?;
        }
    }
    println!("abuse: {count} batches rewritten under the device's eyes");
    Ok(())
}
