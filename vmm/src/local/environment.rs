//! What a program must find so that it calls Weir's libraries: its loader's environment.
//!
//! OpenCL's loader reads a folder of driver names; stock loaders, those that Python wheels bring along
//! too, take it from `OCL_ICD_VENDORS`. An API without a loader is reached by the name of the vendor's
//! library, in a folder that comes first in `LD_LIBRARY_PATH`.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use thiserror::Error;
use weir_apis::{ENTRIES, Entry};

use super::server::Place;

/// Where Weir's libraries for programs lie, seen from the folder of this program: beside it in a build
/// folder, and where packages put them.
const LIBRARY_FOLDERS: [&str; 3] = [".", "../lib/weir", "/usr/lib/weir"];

/// Why there is no environment for a program.
#[derive(Debug, Error)]
pub enum EnvironmentError {
    /// A library is not there.
    #[error(
        "{library} is not there, through which programs call {api}; it was looked for in {looked} \
         (in a clone, `cargo build` makes it)"
    )]
    NoLibrary {
        /// Its file name.
        library: String,
        /// The API.
        api: String,
        /// The folders.
        looked: String,
    },
    /// Two accelerators have one API.
    #[error(
        "accelerators with the API `{0}` are several, and a program can reach one of them; choose it with \
         --accelerator"
    )]
    Several(String),
    /// The files for the loader cannot be written.
    #[error("writing what the program's loader reads to {path}")]
    Write {
        /// The folder.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// Variables to be set, or (without a value) unset.
pub type Variables = Vec<(OsString, Option<OsString>)>;

/// The variables with which a program reaches the accelerators at `places`. Files that they name are
/// written to `folder`.
///
/// # Errors
/// A library is missing, or the files cannot be written.
pub fn prepare(places: &[Place], folder: &Path) -> Result<Variables, EnvironmentError> {
    let mut variables = Variables::new();
    let mut set = |name: &str, value: OsString| variables.push((name.into(), Some(value)));
    let write = |source| EnvironmentError::Write {
        path: folder.into(),
        source,
    };
    let double = |(index, place): (usize, &Place)| {
        let others = &places[..index];
        others.iter().any(|other| other.api == place.api)
    };
    if let Some(index) = places.iter().enumerate().position(double) {
        return Err(EnvironmentError::Several(places[index].api.clone()));
    }
    for place in places {
        let api = place.api.as_str();
        let library = library(api)?;
        let name = format!("WEIR_SOCKET_{}", api.to_uppercase());
        set(&name, place.socket.clone().into());
        let entry = ENTRIES.iter().find(|(name, _)| *name == api);
        match entry.map_or(Entry::Driver, |(_, entry)| *entry) {
            Entry::Driver => {
                let drivers = folder.join("drivers");
                std::fs::create_dir(&drivers).map_err(write)?;
                let text = format!("{}\n", library.display());
                std::fs::write(drivers.join("weir.icd"), text).map_err(write)?;
                // Khronos' loader joins folder and name without a slash in some versions.
                let mut with_slash = OsString::from(drivers);
                with_slash.push("/");
                set("OCL_ICD_VENDORS", with_slash);
            }
            Entry::Library(name) => {
                let libraries = folder.join("libraries");
                std::fs::create_dir_all(&libraries).map_err(write)?;
                symlink(&library, libraries.join(name)).map_err(write)?;
                let mut path = OsString::from(libraries);
                if let Some(others) = std::env::var_os("LD_LIBRARY_PATH") {
                    path.push(":");
                    path.push(others);
                }
                set("LD_LIBRARY_PATH", path);
            }
        }
    }
    // Either would lead a loader past what was set above.
    for name in ["OCL_ICD_FILENAMES", "OPENCL_VENDOR_PATH"] {
        variables.push((name.into(), None));
    }
    Ok(variables)
}

/// The file of Weir's library for `api`.
fn library(api: &str) -> Result<PathBuf, EnvironmentError> {
    let name = format!("libweir_{api}.so");
    let program = std::env::current_exe().unwrap_or_default();
    let beside = program.parent().unwrap_or(Path::new("/"));
    let folders = LIBRARY_FOLDERS.map(|folder| beside.join(folder));
    let found = folders.iter().map(|folder| folder.join(&name));
    let found = found.into_iter().find_map(|path| path.canonicalize().ok());
    found.ok_or_else(|| EnvironmentError::NoLibrary {
        library: name,
        api: api.into(),
        looked: folders
            .iter()
            .map(|folder| folder.display().to_string())
            .collect::<Vec<_>>()
            .join(", "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_api_says_how_programs_come_to_it() {
        for api in weir_apis::APIS {
            assert!(ENTRIES.iter().any(|(name, _)| *name == api.name));
        }
    }

    #[test]
    fn what_is_missing_or_ambiguous_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place {
            api: "toy".into(),
            socket: "/nowhere".into(),
        };
        let error = prepare(std::slice::from_ref(&place), folder.path()).unwrap_err();
        assert!(error.to_string().contains("libweir_toy.so is not there"));
        let error = prepare(&[place.clone(), place], folder.path()).unwrap_err();
        assert!(matches!(error, EnvironmentError::Several(api) if api == "toy"));
    }
}
