//! Wrong configurations and command lines: one clear sentence, exit status 2.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::artifacts::Artifacts;

/// Runs `command` and wants status 2 and a message of one sentence that has all of `words`.
fn refused(mut command: Command, words: &[&str]) -> Result<()> {
    let output = command.stdin(std::process::Stdio::null()).output()?;
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(
        output.status.code() == Some(2),
        "{command:?}: {}, {message}",
        output.status
    );
    for word in words {
        ensure!(
            message.contains(word),
            "{command:?}: the message lacks {word:?}: {message}"
        );
    }
    let lines = message
        .lines()
        .filter(|line| !line.trim().is_empty())
        .count();
    ensure!(
        lines <= 3,
        "{command:?}: {lines} lines for one mistake: {message}"
    );
    ensure!(!message.contains("panicked"), "{message}");
    Ok(())
}

/// Each mistake in a configuration, with the file, the line and what would be right.
pub fn wrong_configurations(artifacts: &Artifacts) -> Result<()> {
    let folder = tempfile::tempdir_in(&artifacts.scratch)?;
    let kernel = artifacts.kernel("6.12").display().to_string();
    let text = folder.path().join("text");
    fs::write(&text, "not a kernel")?;
    let good = format!(
        "[accelerator.gpu0]\napi = \"opencl\"\nplatform = \"Portable\"\n[vm.a]\nkernel = \"{kernel}\"\n\
         memory = \"256MiB\"\naccelerators.gpu0 = {{ share = 1, memory = \"64MiB\" }}\n"
    );
    let cases: &[(&str, &str, &[&str])] = &[
        (
            "memory = \"256MiB\"",
            "memroy = \"256MiB\"",
            &["memroy", ":6"],
        ),
        (
            "memory = \"256MiB\"",
            "memory = \"256 Mibs\"",
            &["256 Mibs", ":6", "MiB"],
        ),
        (&kernel, "/nowhere/vmlinuz", &["/nowhere/vmlinuz", ":5"]),
        (
            &kernel,
            &text.display().to_string(),
            &["text", ":5", "kernel"],
        ),
        ("share = 1", "share = 0", &["share", ":7"]),
        ("gpu0 = { share", "gpu9 = { share", &["gpu9", ":7"]),
        ("\"64MiB\"", "\"4096GiB\"", &["4194304", "gpu0"]),
        (
            "\"Portable\"",
            "\"No Such Platform\"",
            &["No Such Platform"],
        ),
    ];
    for (number, (right, wrong, words)) in cases.iter().enumerate() {
        let file = folder.path().join(format!("case{number}.toml"));
        ensure!(
            good.contains(right),
            "the case {right:?} is about the configuration"
        );
        fs::write(&file, good.replace(right, wrong))?;
        let mut command = artifacts.weir();
        command
            .arg("up")
            .arg(&file)
            .arg("--state-dir")
            .arg(folder.path().join("state"));
        let name = format!("case{number}.toml");
        let mut wanted = vec![name.as_str()];
        wanted.extend(*words);
        refused(command, &wanted).with_context(|| format!("{right} → {wrong}"))?;
    }
    Ok(())
}

/// Each mistake on the command line.
pub fn wrong_command_lines(artifacts: &Artifacts) -> Result<()> {
    let text = artifacts.scratch.join("not-a-kernel");
    fs::write(&text, "not a kernel")?;
    let kernel = artifacts.kernel("6.12");
    let case = |arguments: &[&str], words: &[&str]| {
        let mut command = artifacts.weir();
        command.args(arguments);
        refused(command, words)
    };
    let kernel = kernel.to_str().context("a path in UTF-8")?;
    case(&["run", "--kernel", "/nowhere"], &["/nowhere"])?;
    case(
        &["run", "--kernel", text.to_str().context("UTF-8")?],
        &["not-a-kernel", "kernel"],
    )?;
    case(
        &["run", "--kernel", kernel, "--memory", "12parsecs"],
        &["12parsecs", "MiB"],
    )?;
    case(&["run", "--kernel", kernel, "--memory", "1MiB"], &["128"])?;
    case(&["run", "--kernel", kernel, "--cpus", "17"], &["16"])?;
    case(
        &["run", "--kernel", kernel, "--disk", "/nowhere.img"],
        &["/nowhere.img"],
    )?;
    case(&["run"], &["--kernel"])?;
    case(&["up", "/nowhere.toml"], &["/nowhere.toml"])
}

/// A host without /dev/kvm, and one without OpenCL.
pub fn host_without(artifacts: &Artifacts) -> Result<()> {
    let script = |hide: &str, rest: &str| {
        let mut command = Command::new("unshare");
        command
            .args(["-m", "sh", "-c"])
            .arg(format!("{hide} && exec {rest}"));
        command
    };
    let weir = artifacts.bin.join("weir").display().to_string();
    let kernel = artifacts.kernel("6.12").display().to_string();
    let run = format!("{weir} run --kernel {kernel}");
    let empty = tempfile::tempdir_in(&artifacts.scratch)?;
    let hide = format!("mount --bind {} /dev", empty.path().display());
    refused(script(&hide, &run), &["/dev/kvm"])?;
    let file = empty.path().join("a.toml");
    fs::write(
        &file,
        format!(
            "[accelerator.gpu0]\napi = \"opencl\"\nplatform = \"Portable\"\n[vm.a]\nkernel = \
             \"{kernel}\"\naccelerators.gpu0 = {{ share = 1, memory = \"64MiB\" }}\n"
        ),
    )?;
    let vendors = tempfile::tempdir_in(&artifacts.scratch)?;
    let mut command = artifacts.weir();
    command
        .arg("up")
        .arg(&file)
        .arg("--state-dir")
        .arg(empty.path().join("state"))
        .env("OCL_ICD_VENDORS", vendors.path());
    refused(command, &["no opencl platform", "install", "a.toml"])
}
