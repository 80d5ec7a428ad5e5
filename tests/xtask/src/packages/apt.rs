//! An apt with state, lists and cache of its own, so that resolving and fetching packages needs no
//! root, leaves the host's package state alone, and does not depend on what is installed there.
//!
//! A request's outcome (the exact packages) is kept as a *plan*; as long as the plan's files are in the
//! cache, nothing touches the network.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::sources;
use crate::layout::Layout;
use crate::process;
use crate::progress;

/// Whose versions of packages are preferred.
#[derive(Clone, Copy, Debug)]
pub enum Release {
    /// Debian 12 with its updates.
    Stable,
    /// The newer versions of some packages that are rebuilt for Debian 12.
    Backports,
}

/// A set of packages to have.
pub struct Request<'a> {
    /// What the set is called in messages and in the cache.
    pub name: &'a str,
    /// Which versions are preferred.
    pub release: Release,
    /// The names of the packages asked for.
    pub packages: &'a [&'a str],
    /// Packages, real or virtual, that count as installed already.
    pub provided: &'a [&'a str],
    /// Which packages of the dependency closure are wanted, by the start of their names; all if empty.
    pub only: &'a [&'a str],
    /// Which packages of the closure are not, by the start of their names.
    pub without: &'a [&'a str],
}

/// The private apt.
pub struct Apt {
    home: PathBuf,
}

impl Apt {
    /// Prepares the private state under the working tree's `target/`.
    ///
    /// # Errors
    /// When the host has no apt, or the state cannot be written.
    pub fn open(layout: &Layout) -> Result<Self> {
        let home = layout.cache().join("apt");
        for folder in [
            "lists/partial",
            "archives/partial",
            "planning/partial",
            "empty",
            "plans",
        ] {
            let folder = home.join(folder);
            fs::create_dir_all(&folder)
                .with_context(|| format!("creating {}", folder.display()))?;
        }
        let apt = Self { home };
        apt.write("apt.conf", &apt.configuration()?)?;
        Ok(apt)
    }

    /// Brings the packages of `request` into the cache and returns their files, in a stable order.
    ///
    /// # Errors
    /// When they cannot be resolved or downloaded.
    pub fn fetch(&self, request: &Request) -> Result<Vec<PathBuf>> {
        let plan = self.home.join("plans").join(request.name);
        let asked = format!(
            "# {:?} {:?} {:?} {:?} {:?}",
            request.release, request.packages, request.provided, request.only, request.without
        );
        let known = fs::read_to_string(&plan).unwrap_or_default();
        let known = match known.split_once('\n') {
            Some((header, names)) if header == asked => Some(names.lines().map(str::to_owned)),
            _ => None,
        };
        let names = match known {
            Some(names) => names.collect(),
            None => self.resolve(request)?,
        };
        let names = match self.download(request.name, &names) {
            Ok(()) => names,
            // Mirrors drop superseded versions; then the lists that named them are old as well.
            Err(_) => {
                self.update()?;
                let names = self.resolve(request)?;
                self.download(request.name, &names)?;
                names
            }
        };
        fs::write(&plan, format!("{asked}\n{}\n", names.join("\n")))
            .with_context(|| format!("writing {}", plan.display()))?;
        Ok(names.iter().map(|name| self.archive(name)).collect())
    }

    /// Unpacks `archives` into `to`, replacing what was there, unless exactly these are there already.
    /// `finish` then works on the unpacked files; they appear in `to` only once it is done.
    ///
    /// # Errors
    /// When a package cannot be unpacked or `finish` fails.
    pub fn unpack(
        archives: &[PathBuf],
        to: &Path,
        finish: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<()> {
        let stamp: String = archives
            .iter()
            .filter_map(|archive| archive.file_name())
            .map(|name| format!("{}\n", name.to_string_lossy()))
            .collect();
        if fs::read_to_string(to.join(".packages")).is_ok_and(|found| found == stamp) {
            return Ok(());
        }
        progress::detail(format_args!(
            "unpacking {} packages into {}",
            archives.len(),
            to.display()
        ));
        let mut fresh = to.as_os_str().to_owned();
        fresh.push(".new");
        let fresh = PathBuf::from(fresh);
        let _ = fs::remove_dir_all(&fresh);
        fs::create_dir_all(&fresh).with_context(|| format!("creating {}", fresh.display()))?;
        for archive in archives {
            process::run(Command::new("dpkg-deb").arg("-x").arg(archive).arg(&fresh))?;
        }
        finish(&fresh)?;
        fs::write(fresh.join(".packages"), stamp)?;
        let _ = fs::remove_dir_all(to);
        fs::rename(&fresh, to).with_context(|| format!("moving {} into place", fresh.display()))
    }

    /// Forgets the package lists and plans, so that the next fetch sees the mirror's newest versions.
    ///
    /// # Errors
    /// When they cannot be removed.
    pub fn forget(&self) -> Result<()> {
        for folder in ["plans", "lists"] {
            let folder = self.home.join(folder);
            fs::remove_dir_all(&folder)
                .and_then(|()| fs::create_dir_all(folder.join("partial")))
                .with_context(|| format!("clearing {}", folder.display()))?;
        }
        Ok(())
    }

    /// Asks apt for the dependency closure, as if nothing were installed.
    fn resolve(&self, request: &Request) -> Result<Vec<String>> {
        let provided: String = request
            .provided
            .iter()
            .map(|name| {
                format!(
                    "Package: {name}\nStatus: install ok installed\nVersion: 999\n\
                     Architecture: amd64\nMulti-Arch: foreign\n\n"
                )
            })
            .collect();
        self.write("status", &provided)?;
        self.update_once()?;
        let answer = process::capture(
            self.apt_get()
                // Packages that are in the cache already would not be named.
                .arg(format!("-oDir::Cache::archives={}", self.path("planning")))
                .args(match request.release {
                    Release::Stable => None,
                    Release::Backports => Some("--target-release=bookworm-backports"),
                })
                .args(["--yes", "--print-uris", "install"])
                .args(request.packages),
        )
        .with_context(|| format!("resolving the packages of {}", request.name))?;
        let starts = |name: &str, with: &[&str]| with.iter().any(|start| name.starts_with(start));
        let mut names: Vec<String> = answer
            .lines()
            .filter(|line| line.starts_with('\''))
            .filter_map(|line| line.split(' ').nth(1))
            .filter(|name| request.only.is_empty() || starts(name, request.only))
            .filter(|name| !starts(name, request.without))
            .map(str::to_owned)
            .collect();
        if names.is_empty() {
            bail!("apt found no packages for {}", request.name);
        }
        names.sort();
        Ok(names)
    }

    fn download(&self, what: &str, names: &[String]) -> Result<()> {
        let missing: Vec<String> = names
            .iter()
            .filter(|name| !self.archive(name).is_file())
            .map(|name| specification(name))
            .collect::<Result<_>>()?;
        if missing.is_empty() {
            return Ok(());
        }
        progress::detail(format_args!(
            "fetching {} packages for {what}",
            missing.len()
        ));
        self.update_once()?;
        process::run(
            self.apt_get()
                .current_dir(self.home.join("archives"))
                .arg("download")
                .args(&missing),
        )
        .with_context(|| format!("downloading the packages of {what}"))
    }

    fn update_once(&self) -> Result<()> {
        let have = fs::read_dir(self.home.join("lists"))?
            .filter_map(|entry| entry.ok())
            .any(|entry| entry.file_name().to_string_lossy().contains("_Packages"));
        if have { Ok(()) } else { self.update() }
    }

    fn update(&self) -> Result<()> {
        self.write("sources.list", &sources::list())?;
        progress::detail("fetching Debian's package lists");
        process::run(
            self.apt_get()
                .args(["-oAPT::Update::Error-Mode=any", "update"]),
        )
        .context("fetching Debian's package lists")
    }

    fn apt_get(&self) -> Command {
        let mut command = Command::new("apt-get");
        command
            .env("APT_CONFIG", self.home.join("apt.conf"))
            .env("LC_ALL", "C.UTF-8")
            .arg("-q");
        command
    }

    /// Our own directories, and of the host's configuration only how to reach the network.
    fn configuration(&self) -> Result<String> {
        let host = process::capture(Command::new("apt-config").arg("dump"))
            .context("this needs Debian's apt")?;
        let mut text: String = host
            .lines()
            .filter(|line| {
                ["http", "https", "Check-", "Proxy", "Retries", "ForceIPv"]
                    .iter()
                    .any(|key| line.starts_with(&format!("Acquire::{key}")))
            })
            .map(|line| format!("{line}\n"))
            .collect();
        for (key, value) in [
            ("Dir::State", self.path("")),
            ("Dir::State::lists", self.path("lists")),
            ("Dir::State::status", self.path("status")),
            ("Dir::State::extended_states", self.path("extended_states")),
            ("Dir::Cache", self.path("")),
            ("Dir::Cache::archives", self.path("archives")),
            ("Dir::Etc::sourcelist", self.path("sources.list")),
            ("Dir::Etc::sourceparts", self.path("empty")),
            ("Dir::Etc::parts", self.path("empty")),
            ("Dir::Etc::preferences", self.path("empty/preferences")),
            ("Dir::Etc::preferencesparts", self.path("empty")),
            ("Dir::Log", self.path("")),
            ("APT::Architecture", "amd64".into()),
            ("APT::Install-Recommends", "false".into()),
            ("APT::Sandbox::User", "root".into()),
            ("Acquire::Languages", "none".into()),
            ("Acquire::Retries", "3".into()),
        ] {
            text.push_str(&format!("{key} \"{value}\";\n"));
        }
        text.push_str("APT::Architectures { \"amd64\"; };\n");
        Ok(text)
    }

    fn archive(&self, name: &str) -> PathBuf {
        self.home.join("archives").join(name)
    }

    fn path(&self, name: &str) -> String {
        self.home.join(name).to_string_lossy().into_owned()
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.home.join(name);
        if fs::read_to_string(&path).is_ok_and(|found| found == text) {
            return Ok(());
        }
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
    }
}

/// `name=version` of the package in the file `name_version_architecture.deb`.
fn specification(file: &str) -> Result<String> {
    let mut parts = file.split('_');
    match (parts.next(), parts.next()) {
        (Some(name), Some(version)) => Ok(format!("{name}={}", version.replace("%3a", ":"))),
        _ => bail!("apt named a package file {file:?}, which has no version in it"),
    }
}

#[cfg(test)]
mod tests {
    use super::specification;

    #[test]
    fn an_epoch_in_a_file_name_is_decoded() {
        assert_eq!(
            specification("zlib1g_1%3a1.2.13.dfsg-1_amd64.deb").unwrap(),
            "zlib1g=1:1.2.13.dfsg-1"
        );
    }
}
