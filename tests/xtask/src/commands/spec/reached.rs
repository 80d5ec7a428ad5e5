//! Nothing that the coverage tables list as carried is untested: the test programs, taken together, call
//! all of it.
//!
//! The dynamic linker tells which functions a program has called, when it binds them: `LD_DEBUG=bindings`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use weir_spec::model::Carried;
use weir_spec::report;

use crate::process;

/// What no test program can call on PoCL, and why. Their way through Weir is tested with values that are
/// made up (`tests/decoders`), and on Intel's runtime by `cargo xtask conformance` where it has them.
const NOT_ON_POCL: &[(&str, &str)] = &[
    ("clCreateSubDevicesEXT", "it has no cl_ext_device_fission"),
    ("clEnqueueWaitForEvents", "it aborts: not implemented"),
    ("clGetKernelSubGroupInfoKHR", "it has no such function"),
    ("clReleaseDeviceEXT", "it has no cl_ext_device_fission"),
    ("clRetainDeviceEXT", "it has no cl_ext_device_fission"),
];

/// Programs that somebody else ends, and one that wants a tenant's quota.
const NOT_RUN: &[&str] = &["heartbeat", "load", "longkernel", "quota"];

/// Functions that give other functions' addresses.
const FINDERS: &[&str] = &[
    "clGetExtensionFunctionAddress",
    "clGetExtensionFunctionAddressForPlatform",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Names of the test programs that run here.
fn programs() -> Vec<String> {
    let sources = fs::read_dir(root().join("tests/programs")).unwrap();
    let mut names: Vec<String> = sources
        .filter_map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            name.strip_suffix(".c").map(str::to_owned)
        })
        .filter(|name| !NOT_RUN.contains(&name.as_str()))
        .collect();
    names.sort();
    names
}

/// How often a program may be tried: a thread of PoCL's own crashes at times when a part of the device
/// goes.
const TRIES: usize = 6;

/// The functions that `program` calls when it runs on the host's PoCL.
fn calls(built: &Path, program: &str) -> BTreeSet<String> {
    let mut status = None;
    for _ in 0..TRIES {
        let scratch = tempfile::tempdir().unwrap();
        let mut command = Command::new(built.join(program));
        if program == "hash" {
            command.arg("/bin/sh");
        }
        let ended = command
            .current_dir(scratch.path())
            .env("LD_DEBUG", "bindings")
            .env("LD_DEBUG_OUTPUT", scratch.path().join("bindings"))
            .env("OCL_ICD_VENDORS", "/etc/OpenCL/vendors/pocl.icd")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        if ended.status.success() {
            return bound(scratch.path(), &built.join(program));
        }
        status = Some(ended);
    }
    panic!("{program} fails each time: {status:?}");
}

/// What `program` has bound, as files in `folder` say: one for each process.
fn bound(folder: &Path, program: &Path) -> BTreeSet<String> {
    // The program's own symbols, not those that a library binds.
    let from = format!("binding file {} [0] to ", program.display());
    let mut calls = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if !entry.file_name().to_string_lossy().starts_with("bindings") {
            continue;
        }
        let text = fs::read(entry.path()).unwrap();
        let text = String::from_utf8_lossy(&text);
        let bindings = text.lines().filter(|line| line.contains(&from));
        let symbol = |line: &str| {
            Some(
                line.split_once("symbol `")?
                    .1
                    .split_once('\'')?
                    .0
                    .to_owned(),
            )
        };
        calls.extend(bindings.filter_map(symbol));
    }
    calls
}

/// Functions that programs find in the loader, rather than ask a driver for their addresses.
fn exported_by_loader() -> BTreeSet<String> {
    let loader = "/usr/lib/x86_64-linux-gnu/libOpenCL.so.1";
    let symbols = process::capture(Command::new("nm").args(["-D", "--defined-only", loader]));
    let name = |line: &str| Some(line.split(' ').nth(2)?.split('@').next()?.to_owned());
    symbols.unwrap().lines().filter_map(name).collect()
}

/// Words of `program`'s source.
fn words(program: &str) -> BTreeSet<String> {
    let source = root().join(format!("tests/programs/{program}.c"));
    let text = fs::read_to_string(source).unwrap();
    text.split(|c: char| !c.is_alphanumeric() && c != '_')
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_test_programs_call_every_function_that_is_carried() {
    let built = tempfile::tempdir().unwrap();
    process::run(
        Command::new("make")
            .arg("-C")
            .arg(root().join("tests/programs"))
            .arg(format!("BUILD={}", built.path().display()))
            // Bound when called, whatever the compiler's default is.
            .arg("CFLAGS=-O1 -w -Wl,-z,lazy")
            .stdout(Stdio::null())
            .env_remove("MAKEFLAGS"),
    )
    .unwrap();
    let exported = exported_by_loader();
    let mut called = BTreeSet::new();
    for program in programs() {
        let calls = calls(built.path(), &program);
        assert!(!calls.is_empty(), "{program} calls nothing");
        // What it asks a driver for is called through a pointer, which the linker does not see.
        if FINDERS.iter().any(|finder| calls.contains(*finder)) {
            called.extend(words(&program).difference(&exported).cloned());
        }
        called.extend(calls);
    }
    let excused: BTreeSet<&str> = NOT_ON_POCL.iter().map(|(name, _)| *name).collect();
    let specs = report::specs(&root()).unwrap();
    let functions = specs.iter().flat_map(|spec| &spec.functions);
    let carried: BTreeSet<&str> = functions
        .filter(|function| !matches!(function.carried, Carried::Unsupported(_)))
        .map(|function| function.name.as_str())
        .collect();
    let untested: Vec<_> = carried
        .iter()
        .filter(|name| !called.contains(**name) && !excused.contains(**name))
        .collect();
    assert!(
        untested.is_empty(),
        "carried, but no program in tests/programs calls {untested:?}"
    );
    // An excuse that is none any more goes.
    for name in excused {
        assert!(carried.contains(name), "{name} is not carried");
        assert!(!called.contains(name), "{name} is called after all");
        let named = programs()
            .iter()
            .any(|program| words(program).contains(name));
        assert!(named, "{name} is in no program at all");
    }
}
