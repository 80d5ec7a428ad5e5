//! A guest that breaks every rule of the accelerator device. Runs in a guest, as root; what it looks
//! for is found outside: that the VMM and everybody else go on as before.

mod batches;
mod chains;
mod commands;
mod device;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Breaks every rule of Weir's accelerator device, from inside of a guest")]
struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
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
        What::Batches { device, count, seed } => batches::run(&device, count, seed),
        What::Rewrite { device, count, seed } => batches::rewrite(&device, count, seed),
        What::Chains { count, seed } => chains::run(count, seed),
    }
}
