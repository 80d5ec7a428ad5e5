//! `cargo xtask spec`: what concerns the descriptions of APIs.

mod bars;
mod coverage;
mod draft;
#[cfg(test)]
mod reached;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use serde_json::json;
use weir_spec::Spec;
use weir_spec::report::{self, Report};

use crate::layout::Layout;

/// Arguments of `cargo xtask spec`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Check specs: all, or the files given. What is wrong is said with file, line and column.
    Check {
        /// Specs, wherever they lie.
        files: Vec<PathBuf>,
    },
    /// Print, for each API, how much is generated and how much is written by hand.
    Report {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Write the coverage tables in docs/ anew, and lower the bars in api/bars.json to where the specs are.
    Coverage,
    /// Write a first spec from a C header: what can be guessed is, the rest is marked.
    ///
    /// `cargo xtask spec check` refuses the draft until all that is marked has been said.
    Draft(draft::Args),
}

/// Runs the subcommand.
///
/// # Errors
/// When a spec is wrong, or a file cannot be read or written.
pub fn main(args: Args) -> Result<ExitCode> {
    let layout = Layout::discover()?;
    match args.command {
        Command::Check { files } => check(&layout, files),
        Command::Report { json } => report(&layout, json),
        Command::Coverage => {
            coverage::write(&layout.root())?;
            bars::lower(&layout.root())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Draft(args) => {
            let used = report::specs(&layout.root())?;
            let next = used.iter().map(|spec| spec.id).max().unwrap_or(0) + 1;
            draft::main(&args, next.into()).map(|()| ExitCode::SUCCESS)
        }
    }
}

fn check(layout: &Layout, files: Vec<PathBuf>) -> Result<ExitCode> {
    if files.is_empty() {
        for spec in report::specs(&layout.root())? {
            println!("{}: {} functions", spec.name, spec.functions.len());
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut outcome = ExitCode::SUCCESS;
    for file in files {
        match Spec::read(&file) {
            Ok(spec) => println!("{}: {} functions", spec.name, spec.functions.len()),
            Err(error) => {
                eprintln!("{error}");
                outcome = ExitCode::FAILURE;
            }
        }
    }
    Ok(outcome)
}

fn report(layout: &Layout, json: bool) -> Result<ExitCode> {
    let specs = report::specs(&layout.root())?;
    let reports: Vec<Report> = specs
        .iter()
        .map(|spec| Report::new(&layout.root(), spec))
        .collect::<Result<_, _>>()?;
    if json {
        let apis: Vec<_> = reports
            .iter()
            .map(|r| {
                json!({
                    "name": r.name,
                    "functions": r.functions,
                    "generated": r.generated,
                    "hand_written": r.hand_written,
                    "spec_lines": r.spec_lines,
                    "hand_written_lines": r.hand_written_lines,
                })
            })
            .collect();
        println!("{}", json!({ "apis": apis }));
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "{:12} {:>9} {:>9} {:>12} {:>6} {:>10} {:>11} {:>18} {:>11}",
        "API",
        "functions",
        "generated",
        "hand-written",
        "",
        "spec lines",
        "a function",
        "hand-written lines",
        "unsupported",
    );
    for r in &reports {
        println!(
            "{:12} {:>9} {:>9} {:>12} {:>5.1}% {:>10} {:>11.1} {:>18} {:>11}",
            r.name,
            r.functions,
            r.generated,
            r.hand_written,
            100.0 * r.hand_written_part(),
            r.spec_lines,
            r.lines_a_function(),
            r.hand_written_lines,
            r.unsupported,
        );
    }
    Ok(ExitCode::SUCCESS)
}
