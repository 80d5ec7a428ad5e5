//! `weir doctor`: what this host can do, each finding with what to do about it.

mod kvm;
pub mod limits;
mod opencl;
mod sandbox;

use clap::Args;
use serde::Serialize;

use crate::accelerators::worker_path;

/// Arguments of `weir doctor`.
#[derive(Debug, Args)]
#[command(after_help = "Exit status: 0 if machines can run here, 1 if something prevents it.")]
pub struct DoctorArgs {
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
    /// Print what the OpenCL loader finds, as JSON
    #[arg(long, hide = true)]
    list_opencl: bool,
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As it should be.
    Good,
    /// Something will be missing or slower.
    Warning,
    /// Machines cannot run.
    Problem,
}

/// One thing found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is about: `kvm`, `opencl`, `worker`, `sandbox`, `limits` or `memory`.
    pub topic: &'static str,
    /// How much it matters.
    pub level: Level,
    /// What was found.
    pub text: String,
    /// What to do about it.
    pub advice: Option<String>,
}

impl Finding {
    fn good(topic: &'static str, text: impl Into<String>) -> Self {
        Self {
            topic,
            level: Level::Good,
            text: text.into(),
            advice: None,
        }
    }

    fn warning(topic: &'static str, text: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            topic,
            level: Level::Warning,
            text: text.into(),
            advice: Some(advice.into()),
        }
    }

    fn problem(topic: &'static str, text: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            level: Level::Problem,
            ..Self::warning(topic, text, advice)
        }
    }
}

/// What `weir doctor --json` prints.
#[derive(Debug, Serialize)]
struct Report<'a> {
    /// Whether `/dev/kvm` is there and usable.
    kvm: bool,
    /// Whether it runs a stock kernel's code.
    kvm_runs_stock_kernels: bool,
    /// Platforms with their devices.
    opencl: &'a [opencl::Platform],
    findings: &'a [Finding],
}

/// Looks at everything; answers the exit status.
pub fn doctor(args: &DoctorArgs) -> u8 {
    if args.list_opencl {
        opencl::print_list();
        return 0;
    }
    let (kvm, kvm_findings) = kvm::examine();
    let (platforms, opencl_findings) = opencl::examine();
    let findings: Vec<Finding> = kvm_findings
        .into_iter()
        .chain(opencl_findings)
        .chain([worker()])
        .chain(sandbox::examine())
        .chain(limits::examine())
        .collect();
    match args.json {
        true => {
            let report = Report {
                kvm: kvm.is_some(),
                kvm_runs_stock_kernels: kvm == Some(true),
                opencl: &platforms,
                findings: &findings,
            };
            // Strings, numbers and lists always have a JSON form.
            println!("{}", serde_json::to_string(&report).unwrap_or_default());
        }
        false => print!("{}", text(&findings)),
    }
    u8::from(
        findings
            .iter()
            .any(|finding| finding.level == Level::Problem),
    )
}

/// Whether the program is there that executes guests' calls.
fn worker() -> Finding {
    match worker_path() {
        Ok(path) if path.is_file() => {
            Finding::good("worker", format!("{} is there", path.display()))
        }
        Ok(path) => Finding::warning(
            "worker",
            format!(
                "{} is missing: machines run, but without accelerators",
                path.display()
            ),
            "install `weir-worker` beside `weir`; `cargo build` builds both",
        ),
        Err(error) => Finding::warning(
            "worker",
            format!("this program's own folder cannot be told: {error}"),
            "mount /proc",
        ),
    }
}

fn text(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let mark = match finding.level {
            Level::Good => "ok     ",
            Level::Warning => "warning",
            Level::Problem => "PROBLEM",
        };
        text.push_str(&format!("{mark}  {:8} {}\n", finding.topic, finding.text));
        if let Some(advice) = &finding.advice {
            text.push_str(&format!("{:19}-> {advice}\n", ""));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_follows_its_finding() {
        let findings = [
            Finding::good("kvm", "fine"),
            Finding::problem("memory", "none", "buy some"),
        ];
        let text = text(&findings);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "ok       kvm      fine");
        assert_eq!(lines[1], "PROBLEM  memory   none");
        assert!(lines[2].ends_with("-> buy some"));
    }
}
