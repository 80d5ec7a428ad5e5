//! How much of an API is written by hand, measured from its spec and sources.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::model::{Carried, Function};
use crate::{Spec, lines};

/// Figures of one API.
#[derive(Debug)]
pub struct Report {
    /// Its name.
    pub name: String,
    /// Functions that are carried.
    pub functions: usize,
    /// Those without any hand-written code.
    pub generated: usize,
    /// Those with some, on any side, in the spec or not.
    pub hand_written: usize,
    /// Functions that return an error instead.
    pub unsupported: usize,
    /// Lines of the spec as rustfmt lays it out, without comments and blank lines.
    pub spec_lines: usize,
    /// Lines of its hand-written code, on all sides, without comments, blank lines and tests.
    pub hand_written_lines: usize,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A spec is wrong.
    #[error(transparent)]
    Spec(#[from] crate::Error),
    /// A source is no Rust.
    #[error("{}: {source}", file.display())]
    Source {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        source: syn::Error,
    },
    /// A file or program could not be used.
    #[error("{what}")]
    Io {
        /// What was being done.
        what: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

/// Specs of all APIs below the working tree `root`, in the order of their numbers.
///
/// # Errors
///
/// If one is wrong.
pub fn specs(root: &Path) -> Result<Vec<Spec>, Error> {
    let folder = root.join("api");
    let mut specs = Vec::new();
    for entry in list(&folder)? {
        let file = entry.join("spec.rs");
        if file.is_file() {
            specs.push(Spec::read(file)?);
        }
    }
    specs.sort_by_key(|spec| spec.id);
    Ok(specs)
}

/// Folders with hand-written code of the API `name`: the worker's side and the guest's.
pub fn folders(root: &Path, name: &str) -> [PathBuf; 2] {
    ["api", "guest-driver"].map(|part| root.join(part).join(name).join("src"))
}

impl Report {
    /// Measures an API of the working tree `root`.
    ///
    /// # Errors
    ///
    /// If a source cannot be read.
    pub fn new(root: &Path, spec: &Spec) -> Result<Report, Error> {
        let mut hand_written: BTreeSet<String> = spec
            .functions
            .iter()
            .filter(|function| is_by_hand(function))
            .map(|function| function.name.clone())
            .collect();
        let mut hand_written_lines = 0;
        for folder in folders(root, &spec.name) {
            for file in sources(&folder)? {
                let text = read(&file)?;
                let wrong = |source| Error::Source {
                    file: file.clone(),
                    source,
                };
                hand_written_lines += lines::of_code(&text).map_err(wrong)?;
                let entries = entry_points(&syn::parse_file(&text).map_err(wrong)?);
                hand_written.extend(entries);
            }
        }
        let is_carried = |f: &&Function| !matches!(f.carried, Carried::Unsupported(_));
        let carried: BTreeSet<&str> = spec
            .functions
            .iter()
            .filter(is_carried)
            .map(|function| function.name.as_str())
            .collect();
        let others = hand_written
            .iter()
            .filter(|f| !carried.contains(f.as_str()));
        let functions = carried.len() + others.count();
        Ok(Report {
            name: spec.name.clone(),
            functions,
            generated: functions - hand_written.len(),
            hand_written: hand_written.len(),
            unsupported: spec.functions.len() - carried.len(),
            spec_lines: spec_lines(&spec.file)?,
            hand_written_lines,
        })
    }

    /// Spec lines per function.
    pub fn lines_a_function(&self) -> f64 {
        self.spec_lines as f64 / self.functions.max(1) as f64
    }

    /// The part of the functions that has hand-written code.
    pub fn hand_written_part(&self) -> f64 {
        self.hand_written as f64 / self.functions.max(1) as f64
    }
}

fn is_by_hand(function: &Function) -> bool {
    match function.carried {
        Carried::Unsupported(_) | Carried::AtEnd { .. } | Carried::Ignored | Carried::Finds(_) => {
            false
        }
        Carried::Local => true,
        Carried::Command {
            by_hand_guest,
            by_hand_worker,
        } => by_hand_guest || by_hand_worker,
    }
}

/// Public C functions that `file` defines.
fn entry_points(file: &syn::File) -> Vec<String> {
    let items = file.items.iter().filter_map(|item| match item {
        syn::Item::Fn(function) => Some(function),
        _ => None,
    });
    let is_entry =
        |f: &&syn::ItemFn| f.sig.abi.is_some() && matches!(f.vis, syn::Visibility::Public(_));
    items
        .filter(is_entry)
        .map(|f| f.sig.ident.to_string())
        .collect()
}

/// Lines of code of the spec in `file`, as rustfmt lays it out.
fn spec_lines(file: &Path) -> Result<usize, Error> {
    let failed = |what: &str, source| Error::Io {
        what: format!("{what} {}", file.display()),
        source,
    };
    let text = read(file)?;
    let mut rustfmt = Command::new("rustfmt")
        .args(["--edition", "2024", "--emit", "stdout"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| failed("starting rustfmt (`rustup component add rustfmt`) for", e))?;
    if let Some(mut input) = rustfmt.stdin.take() {
        input
            .write_all(text.as_bytes())
            .map_err(|e| failed("giving rustfmt", e))?;
    }
    let output = rustfmt
        .wait_with_output()
        .map_err(|e| failed("laying out", e))?;
    let text = String::from_utf8_lossy(&output.stdout);
    lines::of_code(&text).map_err(|source| Error::Source {
        file: file.to_owned(),
        source,
    })
}

/// All Rust files below `folder`, but those of tests; none if there is no such folder.
pub fn sources(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut files = Vec::new();
    if !folder.is_dir() {
        return Ok(files);
    }
    for path in list(folder)? {
        let is_test = path.file_stem().is_some_and(|stem| stem == "tests");
        if path.is_dir() && !is_test {
            files.extend(sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !is_test {
            files.push(path);
        }
    }
    Ok(files)
}

fn list(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |source| Error::Io {
        what: format!("listing {}", folder.display()),
        source,
    };
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        paths.push(entry.map_err(failed)?.path());
    }
    paths.sort();
    Ok(paths)
}

fn read(file: &Path) -> Result<String, Error> {
    fs::read_to_string(file).map_err(|source| Error::Io {
        what: format!("reading {}", file.display()),
        source,
    })
}
