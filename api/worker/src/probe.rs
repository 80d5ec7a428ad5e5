//! What devices there are.

use std::os::unix::fs::DirBuilderExt;
use std::process::Command;

use anyhow::Context;
use serde_json::{Value, json};
use weir_runtime::library::{Device, Platform};

/// A device to look for.
pub(crate) struct Wanted<'a> {
    /// Name of the API.
    pub(crate) api: &'a str,
    /// Substring of the platform's name.
    pub(crate) platform: &'a str,
    /// Index of the device on it.
    pub(crate) device: usize,
}

/// Runs this program again, with a cache directory that goes when it has ended: inside of the
/// sandbox it could not be removed.
pub(crate) fn with_temporary_cache() -> anyhow::Result<()> {
    let cache = std::env::temp_dir().join(format!("weir-probe-{}", std::process::id()));
    let made = std::fs::DirBuilder::new().mode(0o700).create(&cache);
    made.with_context(|| format!("making the directory {}", cache.display()))?;
    let status = std::env::current_exe().and_then(|program| {
        let mut again = Command::new(program);
        again.args(std::env::args_os().skip(1));
        again.arg("--cache").arg(&cache).status()
    });
    let _ = std::fs::remove_dir_all(&cache); // what cannot be removed does no harm
    let status = status.context("starting the worker again, with a cache")?;
    anyhow::ensure!(status.success(), "the probe failed: {status}");
    Ok(())
}

/// Prints one device, or all, as a line of JSON.
pub(crate) fn print(wanted: Option<Wanted<'_>>) {
    let found = match &wanted {
        Some(wanted) => one(wanted),
        None => all(),
    };
    println!(
        "{}",
        found.unwrap_or_else(|error| json!({ "error": error }))
    );
}

fn platforms(api: &str) -> Result<Vec<Platform>, String> {
    let known = weir_apis::worker::LIBRARIES.iter();
    let Some((_, load)) = known.clone().find(|(name, _)| *name == api) else {
        let names: Vec<&str> = known.map(|(name, _)| *name).collect();
        return Err(format!(
            "there is no API {api:?}; there is {}",
            names.join(", ")
        ));
    };
    let platforms = load().and_then(|library| library.platforms());
    platforms.map_err(|error| format!("{:#}", anyhow::Error::from(error)))
}

fn one(wanted: &Wanted<'_>) -> Result<Value, String> {
    let platforms = platforms(wanted.api)?;
    let Some(platform) = platforms.iter().find(|p| p.name.contains(wanted.platform)) else {
        let names: Vec<&str> = platforms.iter().map(|p| p.name.as_str()).collect();
        let there = match names.is_empty() {
            true => format!(
                "none at all: install a vendor's {} for this host",
                wanted.api
            ),
            false => names.join(", "),
        };
        return Err(format!(
            "no {} platform's name contains {:?}; there is {there}",
            wanted.api, wanted.platform
        ));
    };
    let Some(device) = platform.devices.get(wanted.device) else {
        return Err(format!(
            "the platform {:?} has no device {}; it has {}",
            platform.name,
            wanted.device,
            platform.devices.len()
        ));
    };
    Ok(json!({
        "platform": platform.name,
        "device": device.name,
        "version": device.version,
        "type": device.kind,
        "global_mem": device.global_mem,
        "max_alloc": device.max_alloc,
    }))
}

fn all() -> Result<Value, String> {
    let mut described = Vec::new();
    let mut errors = Vec::new();
    for (api, _) in weir_apis::worker::LIBRARIES {
        match platforms(api) {
            Ok(platforms) => described.extend(platforms.iter().map(|p| describe(api, p))),
            Err(error) => errors.push(error),
        }
    }
    match described.is_empty() && !errors.is_empty() {
        true => Err(errors.join("; ")),
        false => Ok(json!({ "platforms": described })),
    }
}

fn describe(api: &str, platform: &Platform) -> Value {
    let device = |device: &Device| {
        json!({
            "name": device.name,
            "version": device.version,
            "type": device.kind,
            "global_mem": device.global_mem,
            "max_alloc": device.max_alloc,
        })
    };
    json!({
        "api": api,
        "name": platform.name,
        "version": platform.version,
        "devices": platform.devices.iter().map(device).collect::<Vec<_>>(),
    })
}
