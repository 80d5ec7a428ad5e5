//! What tests run inside of a guest, as root: breaking every rule of the accelerator device (whether
//! the VMM and everybody else go on as before is looked at from outside), and measuring it.

mod arena_speed;
mod batches;
mod chains;
mod commands;
mod device;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    about = "Breaks the rules of Weir's accelerator device, or measures it, inside of a guest"
)]
struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Compares copies through an arena with copies through ordinary memory
    ArenaSpeed {
        /// The device to open
        #[arg(long, default_value = "/dev/weir0")]
        device: String,
    },
    /// Submits malformed batches of commands through the driver
    Batches {
        /// The device to open
        #[arg(long, default_value = "/dev/weir0")]
        device: String,
        /// How many batches
        #[arg(long, default_value_t = 100_000)]
        count: u64,
        /// Where the random numbers begin
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Rewrites commands while the device checks them
    Rewrite {
        /// The device to open
        #[arg(long, default_value = "/dev/weir0")]
        device: String,
        /// How many batches
        #[arg(long, default_value_t = 20_000)]
        count: u64,
        /// Where the random numbers begin
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Takes the device from its driver and feeds its queues malformed descriptor chains
    Chains {
        /// How many chains
        #[arg(long, default_value_t = 100_000)]
        count: u64,
        /// Where the random numbers begin
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
}

fn main() -> Result<()> {
    match Args::parse().what {
        What::ArenaSpeed { device } => arena_speed::run(&device),
        What::Batches {
            device,
            count,
            seed,
        } => batches::run(&device, count, seed),
        What::Rewrite {
            device,
            count,
            seed,
        } => batches::rewrite(&device, count, seed),
        What::Chains { count, seed } => chains::run(count, seed),
    }
}
