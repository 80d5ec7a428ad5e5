//! Runs the benchmarks where real guests run. `cargo xtask bench` prepares them and starts this.

use anyhow::Result;
use clap::Parser;
use weir_e2e::artifacts::Artifacts;
use weir_e2e::bench;

/// Benchmarks with a real guest
#[derive(Parser)]
struct Args {
    /// Also print everything as one JSON object, on the last line
    #[arg(long)]
    json: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let report = bench::guest(&Artifacts::from_env()?)?;
    println!("{}", report.table());
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    }
    Ok(())
}
