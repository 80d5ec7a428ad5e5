//! What of the host's file system an accelerator's library needs.

use std::path::{Path, PathBuf};

/// Libraries, programs and descriptions of the machine, for reading and starting.
const READ: &[&str] = &[
    "/bin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/sbin",
    "/opt/amdgpu",
    "/opt/intel",
    "/opt/nvidia",
    "/opt/rocm",
    "/usr/bin",
    "/usr/include",
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/libexec",
    "/usr/libx32",
    "/usr/local/cuda",
    "/usr/local/lib",
    "/usr/sbin",
    "/usr/share/clc",
    "/usr/share/drirc.d",
    "/usr/share/libdrm",
    "/usr/share/nvidia",
    "/usr/share/pocl",
    "/usr/share/zoneinfo",
    "/etc/OpenCL",
    "/etc/alternatives",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/ld.so.preload",
    "/etc/localtime",
    "/sys/bus/pci",
    "/sys/class/drm",
    "/sys/class/kfd",
    "/sys/dev/char",
    "/sys/devices",
    "/sys/kernel/mm",
    "/sys/module",
];

/// Of `/proc`: what describes the machine, and this process.
pub(super) const PROC: &[&str] = &[
    "/proc/cpuinfo",
    "/proc/devices",
    "/proc/driver",
    "/proc/meminfo",
    "/proc/modules",
    "/proc/self",
    "/proc/stat",
    "/proc/sys/vm",
    "/proc/version",
];

/// Devices, for reading, writing and control.
const DEVICES: &[&str] = &[
    "/dev/dri",
    "/dev/full",
    "/dev/kfd",
    "/dev/null",
    "/dev/random",
    "/dev/urandom",
    "/dev/zero",
];

/// Beginning of the names of devices under `/dev`, of which there may be any number.
const DEVICE_PREFIX: &str = "nvidia";

/// Paths for reading: those above, those that this process's environment and the descriptions of
/// OpenCL's drivers name, and `more`.
pub(super) fn readable(more: &[PathBuf]) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = READ.iter().map(PathBuf::from).collect();
    paths.extend(more.iter().cloned());
    let drivers = std::env::var_os("OCL_ICD_VENDORS").map(PathBuf::from);
    paths.extend(drivers.clone());
    if let Some(searched) = std::env::var_os("LD_LIBRARY_PATH") {
        paths.extend(std::env::split_paths(&searched));
    }
    paths.extend(driver_folders(
        drivers
            .as_deref()
            .unwrap_or(Path::new("/etc/OpenCL/vendors")),
    ));
    let whole: Vec<_> = paths[READ.len()..]
        .iter()
        .flat_map(|path| path.canonicalize())
        .collect();
    paths.extend(whole);
    paths.retain(|path| path.is_absolute() && path.components().count() > 1);
    paths.sort();
    paths.dedup();
    paths
}

/// The folders of the libraries that the descriptions in `folder` name by their whole paths.
fn driver_folders(folder: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let texts = files.filter_map(|file| std::fs::read_to_string(file.path()).ok());
    texts
        .filter_map(|text| {
            let library = Path::new(text.lines().next()?.trim()).canonicalize().ok()?;
            Some(library.parent()?.to_owned())
        })
        .collect()
}

/// Devices that are there.
pub(super) fn devices() -> Vec<PathBuf> {
    let nvidia = std::fs::read_dir("/dev").into_iter().flatten().flatten();
    let nvidia = nvidia.filter(|e| e.file_name().to_string_lossy().starts_with(DEVICE_PREFIX));
    let fixed = DEVICES.iter().map(PathBuf::from);
    let all = fixed.chain(nvidia.map(|entry| entry.path()));
    all.filter(|path| path.exists()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_outside_of_the_usual_places_is_readable() {
        let folder = tempfile::tempdir().unwrap();
        let library = folder.path().join("libdriver.so");
        std::fs::write(&library, "").unwrap();
        let vendors = folder.path().join("vendors");
        std::fs::create_dir(&vendors).unwrap();
        let text = format!("{}\n", library.display());
        std::fs::write(vendors.join("a.icd"), text).unwrap();
        std::fs::write(vendors.join("b.icd"), "libpocl.so.2\n").unwrap();
        assert_eq!(
            driver_folders(&vendors),
            [folder.path().canonicalize().unwrap()]
        );
    }

    #[test]
    fn nothing_makes_the_whole_file_system_readable() {
        let paths = readable(&["/".into(), "relative".into(), "/opt/vendor".into()]);
        assert!(paths.contains(&"/opt/vendor".into()));
        assert!(
            !paths
                .iter()
                .any(|path| path == Path::new("/") || path.is_relative())
        );
    }
}
