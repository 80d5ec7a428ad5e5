//! `cargo xtask conformance`: programs natively and through Weir, compared.

mod outcome;
mod programs;
mod python;
mod side;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use self::outcome::{Comparison, Outcome, compare, explain};
use self::programs::{Device, PROGRAMS, Program, Tools};
use self::python::Python;
use self::side::{Side, Vendor};
use crate::layout::Layout;
use crate::packages::system;
use crate::process;
use crate::product::Local;
use crate::progress;

/// Regressions that are explained; all of them are in the report.
const EXPLAINED: usize = 12;

/// Arguments of `cargo xtask conformance`.
#[derive(clap::Args)]
pub struct Args {
    /// Say which programs there are.
    #[arg(long)]
    list: bool,
    /// Only these programs.
    #[arg(long, value_name = "NAME", num_args = 1..)]
    only: Vec<String>,
    /// Everything, the slow programs too; takes hours on two cores.
    #[arg(long)]
    full: bool,
    /// Run natively again, rather than take the results of an earlier run.
    #[arg(long)]
    fresh: bool,
    /// Also print the figures as one JSON object, on the last line.
    #[arg(long)]
    json: bool,
}

/// All that is compared.
#[derive(Serialize)]
struct Report {
    programs: Vec<Comparison>,
}

/// A native result and what it is a result of.
#[derive(Serialize, Deserialize)]
struct Kept {
    of: String,
    outcome: Outcome,
}

/// What all runs have in common.
struct Runs {
    folder: PathBuf,
    weir: PathBuf,
    tools: Tools,
    pocl: Vendor,
    intel: Vendor,
    /// What the native results depend on, besides the program.
    host: String,
    fresh: bool,
}

/// Runs the programs, tells how they compare, and prints a table.
///
/// # Errors
/// When something cannot be prepared or started.
pub fn main(args: Args) -> Result<ExitCode> {
    if args.list {
        for program in PROGRAMS {
            let when = if program.slow { " (with --full)" } else { "" };
            println!("{:<15} {}{when}", program.name, program.about);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let chosen = choose(&args)?;
    let runs = prepare(&args)?;
    let mut report = Report {
        programs: Vec::new(),
    };
    for program in chosen {
        report.programs.push(one(&runs, program)?);
    }
    print_table(&report);
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    }
    let hollow = report.programs.iter().filter(|one| one.native_passed == 0);
    for one in hollow.clone() {
        progress::step(format_args!(
            "{} passes nothing natively, so nothing was compared",
            one.name
        ));
    }
    let regressed = report
        .programs
        .iter()
        .any(|one| !one.regressions.is_empty());
    let regressed = regressed || hollow.count() > 0;
    Ok(ExitCode::from(u8::from(regressed)))
}

fn choose(args: &Args) -> Result<Vec<&'static Program>> {
    let known = |name: &String| PROGRAMS.iter().any(|program| program.name == name);
    if let Some(unknown) = args.only.iter().find(|name| !known(name)) {
        let names: Vec<_> = PROGRAMS.iter().map(|program| program.name).collect();
        bail!(
            "there is no program called `{unknown}`; there are {}",
            names.join(", ")
        );
    }
    let chosen = |program: &&Program| match args.only.is_empty() {
        true => args.full || !program.slow,
        false => args.only.iter().any(|name| name == program.name),
    };
    Ok(PROGRAMS.iter().filter(chosen).collect())
}

fn prepare(args: &Args) -> Result<Runs> {
    let layout = Layout::discover()?;
    let _lock = layout.lock()?;
    system::ensure()?;
    system::ensure_conformance()?;
    let product = Local::build(&layout)?;
    let folder = layout.target().join("conformance");
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    let python = Python::prepare(&folder)?;
    let host = [
        process::capture(Command::new("uname").arg("-nr"))?,
        process::capture(Command::new("dpkg-query").args([
            "-W",
            "libpocl2",
            "ocl-icd-libopencl1",
        ]))?,
    ];
    Ok(Runs {
        weir: product.bin.join("weir"),
        pocl: pocl(&folder)?,
        intel: python.intel(&folder)?,
        tools: Tools {
            programs: product.programs,
            python,
            masks: layout.root().join("tests/conformance/clinfo-masks.txt"),
            full: args.full,
        },
        host: host.concat(),
        folder,
        fresh: args.fresh,
    })
}

/// PoCL alone, whatever else the host has.
fn pocl(folder: &Path) -> Result<Vendor> {
    let drivers = folder.join("drivers/pocl");
    fs::create_dir_all(&drivers)?;
    fs::copy("/etc/OpenCL/vendors/pocl.icd", drivers.join("pocl.icd"))
        .context("copying the description of PoCL's driver")?;
    Ok(Vendor {
        platform: "Portable Computing Language",
        drivers,
        libraries: None,
    })
}

/// Both sides of one program.
fn one(runs: &Runs, program: &Program) -> Result<Comparison> {
    let native = native(runs, program)?;
    progress::step(format_args!("{}, through Weir", program.name));
    let weir = run(runs, program, Some(&runs.weir))?;
    let comparison = compare(program.name, &native, &weir);
    for test in comparison.regressions.iter().take(EXPLAINED) {
        progress::detail(format_args!(
            "REGRESSION {test}: {}",
            explain(test, &native, &weir)
        ));
    }
    if comparison.regressions.len() > EXPLAINED {
        let more = comparison.regressions.len() - EXPLAINED;
        progress::detail(format_args!("and {more} more"));
    }
    for (figure, wanted) in &native.figures {
        if let Some(got) = weir.figures.get(figure) {
            progress::detail(format_args!(
                "{figure}: natively {wanted}, through Weir {got}: {:.2} times",
                got / wanted
            ));
        }
    }
    fs::write(
        runs.folder.join(program.name).join("regressions"),
        comparison.regressions.join("\n"),
    )?;
    Ok(comparison)
}

/// The native result: an earlier one, if it is of the same.
fn native(runs: &Runs, program: &Program) -> Result<Outcome> {
    let kept = runs.folder.join(program.name).join("native.json");
    let of = identity(runs, program)?;
    let earlier = fs::read_to_string(&kept).ok();
    let earlier = earlier.and_then(|text| serde_json::from_str::<Kept>(&text).ok());
    match earlier {
        Some(earlier) if !runs.fresh && earlier.of == of => return Ok(earlier.outcome),
        _ => {}
    }
    progress::step(format_args!("{}, natively", program.name));
    let outcome = run(runs, program, None)?;
    let entry = Kept { of, outcome };
    fs::write(&kept, serde_json::to_string(&entry)?)?;
    Ok(entry.outcome)
}

/// What a native result is a result of.
fn identity(runs: &Runs, program: &Program) -> Result<String> {
    let version = match program.version {
        [] => String::new(),
        [command, arguments @ ..] => process::capture(Command::new(command).args(arguments))?,
    };
    // The test programs are ours and change.
    let mut built: Vec<_> = fs::read_dir(&runs.tools.programs)?
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let changed = entry.metadata().ok()?.modified().ok()?;
            Some(format!("{:?} {changed:?}", entry.file_name()))
        })
        .collect();
    built.sort();
    let own = if program.name.ends_with("own") {
        built.concat()
    } else {
        String::new()
    };
    let masks = match program.name.ends_with("clinfo") {
        true => fs::read_to_string(&runs.tools.masks)?,
        false => String::new(),
    };
    Ok(format!(
        "{}{version} {} {own}{masks}",
        runs.host, runs.tools.full
    ))
}

fn run(runs: &Runs, program: &Program, weir: Option<&Path>) -> Result<Outcome> {
    let name = if weir.is_some() { "weir" } else { "native" };
    let folder = runs.folder.join(program.name).join(name);
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    let began = Instant::now();
    let side = Side {
        vendor: match program.device {
            Device::Pocl => &runs.pocl,
            Device::Intel => &runs.intel,
        },
        weir: weir.map(Path::to_owned),
        folder,
        deadline: began + program.limit,
    };
    let outcome = (program.run)(&runs.tools, &side)?;
    progress::detail(format_args!(
        "{} tests in {:.1?}; logs in {}",
        outcome.tests.len(),
        began.elapsed(),
        side.folder.display()
    ));
    Ok(outcome)
}

fn print_table(report: &Report) {
    println!(
        "{:<15} {:>15} {:>15} {:>12}",
        "", "natively", "through Weir", ""
    );
    println!(
        "{:<15} {:>7} {:>7} {:>7} {:>7} {:>12}",
        "program", "passed", "failed", "passed", "failed", "regressions"
    );
    for one in &report.programs {
        println!(
            "{:<15} {:>7} {:>7} {:>7} {:>7} {:>12}",
            one.name,
            one.native_passed,
            one.native_failed,
            one.weir_passed,
            one.weir_failed,
            one.regressions.len()
        );
    }
}
