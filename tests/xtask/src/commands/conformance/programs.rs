//! The programs that are tried.

mod clblast;
mod clinfo;
mod clpeak;
mod hashcat;
mod own;
mod piglit;
mod pyopencl;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use super::outcome::Outcome;
use super::python::Python;
use super::side::Side;

/// Whose OpenCL a program runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    Pocl,
    Intel,
}

/// What programs are given besides the side that they run on.
pub struct Tools {
    /// Folder of the project's own test programs.
    pub programs: PathBuf,
    pub python: Python,
    /// Fields of clinfo that may differ, and why.
    pub masks: PathBuf,
    /// Whether to do everything, however long it takes.
    pub full: bool,
}

/// A program.
pub struct Program {
    pub name: &'static str,
    /// What it is, for the list.
    pub about: &'static str,
    pub device: Device,
    /// Only with `--full` or by its name.
    pub slow: bool,
    /// Time for one run on one side.
    pub limit: Duration,
    /// The command that tells the version of what is run.
    pub version: &'static [&'static str],
    pub run: fn(&Tools, &Side) -> Result<Outcome>,
}

const fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

const fn debian(package: &'static str) -> [&'static str; 4] {
    ["dpkg-query", "-W", "-f=${Version}", package]
}

const CLINFO: &[&str] = &debian("clinfo");
const PIGLIT: &[&str] = &debian("piglit");
const CLBLAST: &[&str] = &debian("clblast-tests");
const HASHCAT: &[&str] = &debian("hashcat");
const CLPEAK: &[&str] = &debian("clpeak");
/// Versions are fixed, or the native result must not be kept.
const NONE: &[&str] = &[];

/// All of them, in the order in which they run.
pub const PROGRAMS: &[Program] = &[
    Program {
        name: "clinfo",
        about: "every field that clinfo prints, but for those of tests/conformance/clinfo-masks.txt",
        device: Device::Pocl,
        slow: false,
        limit: minutes(2),
        version: CLINFO,
        run: clinfo::run,
    },
    Program {
        name: "own",
        about: "the programs of tests/programs: same output, to the last bit",
        device: Device::Pocl,
        slow: false,
        limit: minutes(5),
        version: NONE,
        run: own::run,
    },
    Program {
        name: "piglit-api",
        about: "piglit run cl -t '^api'",
        device: Device::Pocl,
        slow: false,
        limit: minutes(5),
        version: PIGLIT,
        run: piglit::api,
    },
    Program {
        name: "hashcat",
        about: "cracks an MD5 hash, with an empty cache and again",
        device: Device::Pocl,
        slow: false,
        limit: minutes(5),
        version: HASHCAT,
        run: hashcat::run,
    },
    Program {
        name: "pyopencl",
        about: "PyOpenCL's own tests with the wheel of PyPI, which has its own loader",
        device: Device::Pocl,
        slow: false,
        limit: minutes(10),
        version: NONE,
        run: pyopencl::run,
    },
    Program {
        name: "clblast-xdot",
        about: "clblast_test_xdot",
        device: Device::Pocl,
        slow: false,
        limit: minutes(5),
        version: CLBLAST,
        run: clblast::xdot,
    },
    Program {
        name: "clblast-xgemv",
        about: "clblast_test_xgemv -precision 32",
        device: Device::Pocl,
        slow: false,
        limit: minutes(10),
        version: CLBLAST,
        run: clblast::xgemv,
    },
    Program {
        name: "clpeak",
        about: "bandwidth and latency, as ratios; that it ends well decides",
        device: Device::Pocl,
        slow: false,
        limit: minutes(5),
        version: CLPEAK,
        run: clpeak::run,
    },
    Program {
        name: "intel-clinfo",
        about: "clinfo on Intel's runtime for CPUs",
        device: Device::Intel,
        slow: false,
        limit: minutes(2),
        version: CLINFO,
        run: clinfo::run,
    },
    Program {
        name: "intel-own",
        about: "the programs of tests/programs on Intel's runtime for CPUs",
        device: Device::Intel,
        slow: false,
        limit: minutes(5),
        version: NONE,
        run: own::run,
    },
    Program {
        name: "intel-pyopencl",
        about: "PyOpenCL's own tests on Intel's runtime for CPUs",
        device: Device::Intel,
        slow: true,
        limit: minutes(20),
        version: NONE,
        run: pyopencl::run,
    },
    Program {
        name: "clblast-xgemm",
        about: "clblast_test_xgemm -precision 32",
        device: Device::Pocl,
        slow: true,
        limit: minutes(30),
        version: CLBLAST,
        run: clblast::xgemm,
    },
    Program {
        name: "piglit-cl",
        about: "piglit run cl, the whole profile",
        device: Device::Pocl,
        slow: true,
        limit: minutes(90),
        version: PIGLIT,
        run: piglit::whole,
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::PROGRAMS;

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<_> = PROGRAMS.iter().map(|program| program.name).collect();
        assert_eq!(names.len(), PROGRAMS.len());
    }
}
