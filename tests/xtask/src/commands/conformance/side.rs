//! The two ways in which a program runs, and running it for a bounded time.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal};

use crate::progress;

/// How long an ended program's descendants may take to end.
const LOOK: Duration = Duration::from_millis(20);

/// One vendor's OpenCL.
pub struct Vendor {
    /// A part of its platform's name.
    pub platform: &'static str,
    /// A folder whose descriptions name its library alone.
    pub drivers: PathBuf,
    /// Where more of its libraries lie.
    pub libraries: Option<PathBuf>,
}

/// Natively, or through Weir.
pub struct Side<'a> {
    pub vendor: &'a Vendor,
    /// The program `weir`, where it is through Weir.
    pub weir: Option<PathBuf>,
    /// A folder of this program's and side's own: home, caches, logs.
    pub folder: PathBuf,
    /// When the program must have come to its end.
    pub deadline: Instant,
}

/// What a command did.
pub struct Ran {
    pub stdout: String,
    /// Whether it ended by itself with status 0.
    pub succeeded: bool,
}

impl Side<'_> {
    /// Runs `command` (a program and its arguments) to its end, or kills it and all that it started when
    /// time is up. Its outputs are kept as files called `log`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn run(&self, log: &str, command: &[OsString], variables: &[(&str, &str)]) -> Result<Ran> {
        let mut words: Vec<OsString> = Vec::new();
        if let Some(weir) = &self.weir {
            words.push(weir.into());
            words.extend(["exec", "--platform", self.vendor.platform, "--"].map(OsString::from));
        }
        words.extend_from_slice(command);
        let home = self.folder.join("home");
        fs::create_dir_all(&home).with_context(|| format!("creating {}", home.display()))?;
        let out = self.folder.join(format!("{log}.out"));
        let err = self.folder.join(format!("{log}.err"));
        // Khronos' loader joins folder and name without a slash in some versions.
        let mut drivers = self.vendor.drivers.clone().into_os_string();
        drivers.push("/");
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .current_dir(&self.folder)
            .env("OCL_ICD_VENDORS", drivers)
            .env_remove("OCL_ICD_FILENAMES")
            .env("HOME", &home)
            .env_remove("XDG_DATA_HOME")
            .env_remove("XDG_CACHE_HOME")
            .env("POCL_CACHE_DIR", self.folder.join("pocl"))
            .env("LC_ALL", "C.UTF-8")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(File::create(&out)?)
            .stderr(File::create(&err)?)
            .process_group(0);
        if let Some(libraries) = &self.vendor.libraries {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        let shown = words[0].display().to_string();
        let mut child = command
            .spawn()
            .with_context(|| format!("starting {shown}"))?;
        let group = Pid::from_child(&child);
        let status = loop {
            match child.try_wait()? {
                Some(status) => break Some(status),
                None if Instant::now() >= self.deadline => break None,
                None => thread::sleep(LOOK),
            }
        };
        // All that it has started and left, too.
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
        let _ = child.wait();
        let succeeded = status.is_some_and(|status| status.success());
        if !succeeded {
            let end = status.map_or_else(|| "time was up".into(), |status| status.to_string());
            progress::detail(format_args!("{log}: {end}"));
        }
        let stdout = String::from_utf8_lossy(&fs::read(&out)?).into_owned();
        Ok(Ran { stdout, succeeded })
    }
}

/// A command line's words, as programs take them.
pub fn words<const N: usize>(words: [&str; N]) -> Vec<OsString> {
    words.map(OsString::from).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_hangs_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let vendor = Vendor {
            platform: "",
            drivers: folder.path().into(),
            libraries: None,
        };
        let side = |seconds| Side {
            vendor: &vendor,
            weir: None,
            folder: folder.path().into(),
            deadline: Instant::now() + Duration::from_secs(seconds),
        };
        let script = words(["sh", "-c", "echo here; exec sleep 1000"]);
        let ran = side(1).run("hangs", &script, &[]).unwrap();
        assert!(!ran.succeeded);
        assert_eq!(ran.stdout, "here\n");
        let ran = side(60).run("works", &words(["true"]), &[]).unwrap();
        assert!(ran.succeeded);
    }
}
