//! Asking the host's devices whether a configuration asks for what they have.
//!
//! The vendor's libraries are never loaded here: the worker is asked, in a process of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::config::{Config, ConfigError};
use crate::spec::AcceleratorSpec;

/// What a worker says about a device.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Device {
    /// The platform's name.
    pub platform: String,
    /// The device's name.
    pub device: String,
    /// Bytes of memory.
    pub global_mem: u64,
    /// Most bytes in one piece.
    pub max_alloc: u64,
}

/// A worker's answer: one line of JSON.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Answer {
    Device(Device),
    Error { error: String },
}

/// The worker's program, which lies beside this one.
pub fn worker_path() -> std::io::Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name("weir-worker"))
}

/// Asks about every accelerator that a machine of `config` uses, and refuses what cannot be.
/// Returns the devices by the accelerators' names.
pub fn check(config: &Config) -> Result<BTreeMap<String, Device>, ConfigError> {
    check_with(config, &probe)
}

fn check_with(
    config: &Config,
    probe: &dyn Fn(&AcceleratorSpec) -> Result<Device, String>,
) -> Result<BTreeMap<String, Device>, ConfigError> {
    let complain = |line, message| ConfigError {
        file: config.places.file.clone(),
        line,
        message,
    };
    let mut devices: BTreeMap<&str, (Device, u64)> = BTreeMap::new();
    for (tenant, grant) in config.grants() {
        let name = grant.name.as_str();
        if !devices.contains_key(name) {
            let line = config.places.accelerators.get(name).copied();
            let device = probe(grant)
                .map_err(|message| complain(line, format!("accelerator `{name}`: {message}")))?;
            devices.insert(name, (device, 0));
        }
        let Some((device, granted)) = devices.get_mut(name) else {
            continue;
        };
        let quota = grant.memory.unwrap_or(0);
        *granted = granted.saturating_add(quota);
        if *granted > device.global_mem {
            let others = *granted - quota;
            let taken = match others {
                0 => String::new(),
                others => format!(", of which others were given {} MiB", others >> 20),
            };
            let key = (tenant.to_owned(), grant.name.clone());
            let message = format!(
                "`{tenant}` asks for {} MiB of memory on accelerator `{name}`; {} has {} MiB{taken}",
                quota >> 20,
                device.device,
                device.global_mem >> 20,
            );
            return Err(complain(config.places.grants.get(&key).copied(), message));
        }
    }
    Ok(devices
        .into_iter()
        .map(|(name, (device, _))| (name.to_owned(), device))
        .collect())
}

/// Has a worker look for the device of `accelerator`.
pub fn probe(accelerator: &AcceleratorSpec) -> Result<Device, String> {
    let worker = worker_path().map_err(|error| format!("looking for the worker: {error}"))?;
    run_probe(&worker, accelerator)
}

fn run_probe(worker: &Path, accelerator: &AcceleratorSpec) -> Result<Device, String> {
    let mut command = Command::new(worker);
    command.args(["--probe", "--api", &accelerator.api]);
    if let Some(platform) = &accelerator.platform {
        command.args(["--platform", platform]);
    }
    command.args(["--device", &accelerator.device.to_string()]);
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("the worker {} cannot be run: {error}", worker.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    // A vendor's library may print as well; the answer is the last line.
    match serde_json::from_str(text.lines().last().unwrap_or("")) {
        Ok(Answer::Device(device)) => Ok(device),
        Ok(Answer::Error { error }) => Err(error),
        Err(_) => Err(format!(
            "the worker {} ended with {} and no answer{}",
            worker.display(),
            output.status,
            last_words(&output.stderr)
        )),
    }
}

fn last_words(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    match text.lines().rfind(|line| !line.trim().is_empty()) {
        Some(line) => format!("; its last words: {line}"),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::config::reader::Source;

    fn config(alice: &str, bob: &str) -> (tempfile::TempDir, Config) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("k"), crate::boot::tests::bzimage_start()).unwrap();
        let text = format!(
            "[accelerator.gpu0]\napi = \"opencl\"\n\
             [vm.alice]\nkernel = \"k\"\naccelerators.gpu0 = {{ memory = \"{alice}\" }}\n\
             [vm.bob]\nkernel = \"k\"\naccelerators.gpu0 = {{ memory = \"{bob}\" }}\n"
        );
        let file = folder.path().join("c.toml");
        let config = Config::parse(&Source { file, text }).unwrap();
        (folder, config)
    }

    fn device() -> Device {
        Device {
            platform: "Test".into(),
            device: "Test device".into(),
            global_mem: 4 << 30,
            max_alloc: 1 << 30,
        }
    }

    #[test]
    fn quotas_within_the_device_are_accepted() {
        let (_folder, config) = config("3GiB", "1GiB");
        check_with(&config, &|_| Ok(device())).unwrap();
    }

    #[test]
    fn a_quota_above_the_device_is_refused_with_its_line() {
        let (_folder, config) = config("5GiB", "1GiB");
        let error = check_with(&config, &|_| Ok(device())).unwrap_err();
        assert_eq!(error.line, Some(5));
        assert_eq!(
            error.message,
            "`alice` asks for 5120 MiB of memory on accelerator `gpu0`; Test device has \
             4096 MiB"
        );
    }

    #[test]
    fn quotas_that_are_too_much_together_are_refused() {
        let (_folder, config) = config("3GiB", "2GiB");
        let error = check_with(&config, &|_| Ok(device())).unwrap_err();
        assert_eq!(error.line, Some(8));
        assert!(
            error.message.ends_with("others were given 3072 MiB"),
            "{error}"
        );
    }

    #[test]
    fn a_missing_platform_is_told_at_its_definition() {
        let (_folder, config) = config("1GiB", "1GiB");
        let error = check_with(&config, &|_| Err("there is no platform".into())).unwrap_err();
        assert_eq!(error.line, Some(1));
        assert_eq!(error.message, "accelerator `gpu0`: there is no platform");
    }

    #[test]
    fn a_worker_is_asked_and_understood() {
        let (folder, config) = config("1GiB", "1GiB");
        let worker = folder.path().join("worker");
        let ask = |script: &str| {
            std::fs::write(&worker, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&worker, std::fs::Permissions::from_mode(0o755)).unwrap();
            run_probe(&worker, &config.vms[0].accelerators[0])
        };
        let answer = r#"{"platform":"Test","device":"Test device","global_mem":4294967296,"max_alloc":1073741824}"#;
        assert_eq!(ask(&format!("echo noise; echo '{answer}'")), Ok(device()));
        assert_eq!(
            ask(r#"echo '{"error":"no such platform"}'"#),
            Err("no such platform".into())
        );
        let silent = ask("echo oops >&2; exit 7").unwrap_err();
        assert!(
            silent.contains("status: 7") && silent.ends_with("oops"),
            "{silent}"
        );
        let missing = run_probe(Path::new("/nowhere"), &config.vms[0].accelerators[0]);
        assert!(missing.unwrap_err().contains("/nowhere cannot be run"));
    }
}
