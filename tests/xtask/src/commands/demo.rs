//! `cargo xtask demo`: the main job, end to end.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use serde_json::{Value, json};

use crate::commands::setup;
use crate::guests;
use crate::layout::Layout;
use crate::product::Product;
use crate::progress;

/// Time for both machines in the rig.
const TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// Arguments of `cargo xtask demo`.
#[derive(clap::Args)]
pub struct Args {
    /// Also print the figures as one JSON object, on the last line.
    #[arg(long)]
    json: bool,
}

/// What one machine did.
#[derive(Debug, Serialize)]
struct Tenant {
    name: String,
    correct: bool,
    calls: u64,
    batches: u64,
    bytes_in: u64,
    bytes_out: u64,
    memory_peak: u64,
    device_time_ns: u64,
    share_configured: f64,
    share_measured: f64,
}

/// Prepares everything, runs both machines of `resources/demo.toml` to their end and prints a table.
///
/// # Errors
/// When something cannot be prepared or the machines do not run.
pub fn main(args: Args) -> Result<ExitCode> {
    let layout = Layout::discover()?;
    let kernels = setup::prepare(&layout, false)?;
    let product = Product::build(&layout, &kernels)?;
    product.payload(
        &layout,
        "demo",
        Some(&layout.root().join("resources/demo/run.sh")),
    )?;
    let folder = layout.target().join("demo");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder)?;
    let report = folder.join("report.json");
    let script =
        r#"exec "$0" up resources/demo.toml --consoles --json --state-dir "$1" >"$1/report.json""#;
    let command: Vec<OsString> = vec![
        "sh".into(),
        "-c".into(),
        script.into(),
        product.bin.join("weir").into(),
        folder.clone().into(),
    ];
    let (status, host) = guests::run(&layout, "alice and bob", &command, Vec::new(), TIMEOUT)?;
    ensure!(
        status == 0,
        "weir up ended with status {status}; consoles are in {}",
        folder.display()
    );
    let text = fs::read_to_string(&report).context("reading what weir up reported")?;
    let report: Value = serde_json::from_str(text.trim()).context("reading the report")?;
    let tenants = tenants(&report, &folder)?;
    println!("{}", table(&tenants));
    let correct = !tenants.is_empty() && tenants.iter().all(|tenant| tenant.correct);
    if args.json {
        println!("{}", json!({ "host": host, "tenants": tenants }));
    } else if correct {
        progress::detail("every result was right");
    }
    Ok(if correct {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Puts the report's figures together with what each guest printed.
fn tenants(report: &Value, folder: &Path) -> Result<Vec<Tenant>> {
    let vms = report["vms"]
        .as_array()
        .context("the report lists machines")?;
    let accelerator = |vm: &Value| vm["accelerators"][0].clone();
    let sum = |field: &str| -> f64 {
        vms.iter()
            .filter_map(|vm| accelerator(vm)[field].as_f64())
            .sum::<f64>()
            .max(1.0)
    };
    let (shares, time) = (sum("share"), sum("device_time_ns"));
    vms.iter()
        .map(|vm| {
            let name = vm["name"]
                .as_str()
                .context("a machine has a name")?
                .to_owned();
            let console = fs::read(folder.join(format!("{name}.console.log")))
                .with_context(|| format!("reading {name}'s console"))?;
            let console = String::from_utf8_lossy(&console).replace('\r', "");
            let figures = accelerator(vm);
            let count = |field: &str| figures[field].as_u64().unwrap_or(0);
            Ok(Tenant {
                correct: console.lines().any(|line| line == "weir-guest: exit 0"),
                calls: count("calls"),
                batches: count("batches"),
                bytes_in: count("bytes_in"),
                bytes_out: count("bytes_out"),
                memory_peak: count("memory_peak"),
                device_time_ns: count("device_time_ns"),
                share_configured: count("share") as f64 / shares,
                share_measured: count("device_time_ns") as f64 / time,
                name,
            })
        })
        .collect()
}

fn table(tenants: &[Tenant]) -> String {
    let mut lines = vec![format!(
        "{:<8} {:>8} {:>8} {:>8} {:>10} {:>10} {:>12} {:>12} {:>11} {:>9}",
        "tenant",
        "results",
        "calls",
        "batches",
        "KiB in",
        "KiB out",
        "memory peak",
        "device time",
        "configured",
        "measured"
    )];
    for tenant in tenants {
        lines.push(format!(
            "{:<8} {:>8} {:>8} {:>8} {:>10} {:>10} {:>8} KiB {:>9.1} ms {:>10.0}% {:>8.0}%",
            tenant.name,
            if tenant.correct { "right" } else { "WRONG" },
            tenant.calls,
            tenant.batches,
            tenant.bytes_in >> 10,
            tenant.bytes_out >> 10,
            tenant.memory_peak >> 10,
            tenant.device_time_ns as f64 / 1e6,
            100.0 * tenant.share_configured,
            100.0 * tenant.share_measured,
        ));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_and_consoles_come_together() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(
            folder.path().join("a.console.log"),
            "x\r\nweir-guest: exit 0\r\n",
        )
        .unwrap();
        fs::write(
            folder.path().join("b.console.log"),
            "weir-guest: exit 1\r\n",
        )
        .unwrap();
        let vm = |name: &str, share: u64, time: u64| json!({ "name": name, "accelerators": [{ "share": share, "device_time_ns": time }] });
        let report = json!({ "vms": [vm("a", 3, 60), vm("b", 1, 40)] });
        let found = tenants(&report, folder.path()).unwrap();
        assert!(found[0].correct && !found[1].correct);
        assert_eq!(
            (found[0].share_configured, found[0].share_measured),
            (0.75, 0.6)
        );
        assert_eq!(table(&found).lines().count(), 3);
    }
}
