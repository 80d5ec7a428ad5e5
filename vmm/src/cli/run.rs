//! `weir run`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::{Failure, parse_duration};
use crate::accelerators;
use crate::arbiter;
use crate::boot;
use crate::config::{self, Config, units};
use crate::doctor::limits::host_memory;
use crate::layout;
use crate::run::{self, Options, RunError};
use crate::sandbox::Level;
use crate::spec::{DEFAULT_CMDLINE, DEFAULT_CPUS, DEFAULT_MEMORY, DiskSpec, VmSpec};
use crate::supervisor::link::Link;

/// Arguments of `weir run`.
#[derive(Debug, Args)]
#[command(after_help = "\
On a terminal, Ctrl-A x ends the machine and Ctrl-A Ctrl-A is one Ctrl-A for the guest.
SIGTERM presses the machine's power button; a second one, or the end of the grace period, ends it.

Examples:
  weir run --kernel /boot/vmlinuz-6.12-cloud-amd64 --initrd initrd.img
  weir run --kernel vmlinuz --initrd initrd.img --disk root.img --disk data.img,ro --cpus 4
  weir run --config demo.toml --vm alice --memory 2GiB")]
pub struct RunArgs {
    /// Name of the machine in messages
    #[arg(long)]
    name: Option<String>,
    /// Kernel: a bzImage such as Debian's vmlinuz, or an ELF vmlinux
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,
    /// Initial RAM disk
    #[arg(long, value_name = "FILE")]
    initrd: Option<PathBuf>,
    /// Raw disk image; may be given several times. With ",ro" the guest may only read it
    #[arg(long = "disk", value_name = "FILE[,ro]", value_parser = parse_disk)]
    disks: Vec<DiskSpec>,
    /// Number of processors, 1 to 16 [default: 1]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=i64::from(layout::CPUS_MAX)))]
    cpus: Option<u32>,
    /// Memory, such as 512MiB or 2GiB, at least 128MiB [default: 512MiB]
    #[arg(long, value_name = "SIZE", value_parser = parse_memory)]
    memory: Option<u64>,
    /// Kernel command line [default: console=ttyS0 panic=-1 quiet]
    #[arg(long, value_name = "TEXT")]
    cmdline: Option<String>,
    /// Take the machine from this configuration; the options above change it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Which machine of the configuration, where it has several
    #[arg(long, value_name = "NAME", requires = "config")]
    vm: Option<String>,
    /// How long the guest gets to power off when the machine is told to stop
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    grace: Duration,
    /// End the machine when the guest restarts, with status 0
    #[arg(long)]
    no_reboot: bool,
    /// Where an accelerator's arbiter is
    #[arg(long, hide = true, value_name = "END")]
    arbiter: Vec<String>,
    /// How far the machine's process is shut in
    #[arg(long, value_enum, default_value_t)]
    sandbox: Level,
    /// Standard input is the link to a supervisor
    #[arg(long, hide = true)]
    supervised: bool,
}

/// Runs one machine; answers its exit status.
pub(super) fn run(args: RunArgs) -> Result<u8, Failure> {
    arbiter::adopt(&args.arbiter).map_err(Failure::usage_text)?;
    let options = Options {
        grace: args.grace,
        no_reboot: args.no_reboot,
        sandbox: args.sandbox,
    };
    let link = match args.supervised {
        true => Some(Link::from_stdin().map_err(|error| Failure::other(&error))?),
        false => None,
    };
    let spec = spec(args)?;
    if link.is_none() {
        use std::io::IsTerminal;
        if std::io::stdin().is_terminal() {
            eprintln!("weir: starting {}; Ctrl-A x ends it", spec.name);
        }
    }
    let supervised = link.is_some();
    let ending = run::run(&spec, &options, link).map_err(|error| match &error {
        RunError::Start(start) if start.is_usage() => Failure::usage(&error),
        _ => Failure::other(&error),
    })?;
    // Under a supervisor that says so.
    if !supervised {
        eprintln!("weir: {}", ending.sentence());
    }
    Ok(ending.status())
}

/// The machine that `args` describe, checked.
fn spec(args: RunArgs) -> Result<VmSpec, Failure> {
    let mut spec = match &args.config {
        Some(path) => from_config(path, args.vm.as_deref(), args.supervised)?,
        None => VmSpec {
            name: "vm".into(),
            kernel: args.kernel.clone().ok_or_else(|| {
                Failure::usage_text("no kernel is given; add --kernel FILE or --config FILE")
            })?,
            initrd: None,
            cmdline: DEFAULT_CMDLINE.into(),
            cpus: DEFAULT_CPUS,
            memory: DEFAULT_MEMORY,
            disks: Vec::new(),
            accelerators: Vec::new(),
        },
    };
    if let Some(kernel) = args.kernel {
        boot::kernel_kind(&kernel).map_err(|error| Failure::usage(&error))?;
        spec.kernel = kernel;
    }
    spec.name = args.name.unwrap_or(spec.name);
    spec.initrd = args.initrd.or(spec.initrd);
    spec.cmdline = args.cmdline.unwrap_or(spec.cmdline);
    spec.cpus = args.cpus.unwrap_or(spec.cpus);
    spec.memory = args.memory.unwrap_or(spec.memory);
    spec.disks.extend(args.disks);
    check_memory(&spec)?;
    Ok(spec)
}

/// Refuses a machine with more memory than the host has.
fn check_memory(spec: &VmSpec) -> Result<(), Failure> {
    let host = host_memory().map_err(|error| Failure::other(&error))?;
    if spec.memory <= host {
        return Ok(());
    }
    Err(Failure::usage_text(format!(
        "machine `{}` wants {} MiB of memory, and this host has {} MiB; give it less",
        spec.name,
        spec.memory >> 20,
        host >> 20
    )))
}

fn from_config(path: &std::path::Path, vm: Option<&str>, checked: bool) -> Result<VmSpec, Failure> {
    let mut config = Config::load(path).map_err(|error| Failure::usage(&error))?;
    match (vm, config.vms.as_slice()) {
        (Some(name), _) => {
            let vm = config
                .vm(name)
                .map_err(|error| Failure::usage(&error))?
                .clone();
            config.vms = vec![vm];
        }
        (None, [_]) => {}
        (None, vms) => {
            let names: Vec<&str> = vms.iter().map(|vm| vm.name.as_str()).collect();
            return Err(Failure::usage_text(format!(
                "{} has several machines; choose one with --vm: {}",
                path.display(),
                config::reader::list(&names)
            )));
        }
    }
    // A supervisor has asked the devices already, for all machines together.
    if !checked {
        accelerators::check(&config).map_err(|error| Failure::usage(&error))?;
    }
    Ok(config.vms.remove(0))
}

fn parse_disk(text: &str) -> Result<DiskSpec, String> {
    let (path, read_only) = match text.rsplit_once(',') {
        Some((path, "ro")) => (path, true),
        Some((_, option)) if !option.contains(['/', '.']) => {
            return Err(format!(
                "`{option}` is no option of a disk; the only one is `ro`"
            ));
        }
        _ => (text, false),
    };
    Ok(DiskSpec {
        path: path.into(),
        read_only,
    })
}

fn parse_memory(text: &str) -> Result<u64, String> {
    config::memory_size(units::size(text)?)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Whole {
        #[command(flatten)]
        args: RunArgs,
    }

    fn parse(words: &[&str]) -> Result<VmSpec, Failure> {
        let words = std::iter::once("run").chain(words.iter().copied());
        let whole = Whole::try_parse_from(words).map_err(|error| Failure::usage(&error))?;
        spec(whole.args)
    }

    fn kernel() -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), boot::tests::bzimage_start()).unwrap();
        file
    }

    #[test]
    fn options_make_a_machine() {
        let kernel = kernel();
        let path = kernel.path().to_str().unwrap();
        let spec = parse(&[
            "--kernel",
            path,
            "--cpus",
            "4",
            "--memory",
            "2GiB",
            "--disk",
            "a.img",
            "--disk",
            "b.img,ro",
            "--cmdline",
            "quiet",
            "--name",
            "test",
        ])
        .unwrap();
        assert_eq!(
            (spec.name.as_str(), spec.cpus, spec.memory),
            ("test", 4, 2 << 30)
        );
        let disks: Vec<_> = spec
            .disks
            .iter()
            .map(|d| (d.path.to_str().unwrap(), d.read_only))
            .collect();
        assert_eq!(disks, [("a.img", false), ("b.img", true)]);
        assert_eq!(spec.cmdline, "quiet");
    }

    #[test]
    fn wrong_options_are_refused_as_usage() {
        let kernel = kernel();
        let path = kernel.path().to_str().unwrap();
        for (words, expected) in [
            (vec![], "--kernel FILE"),
            (vec!["--kernel", "/nowhere"], "/nowhere"),
            (vec!["--kernel", "/dev/null"], "not a kernel"),
            (vec!["--kernel", path, "--cpus", "0"], "1..=16"),
            (vec!["--kernel", path, "--memory", "1Gb"], "512MiB"),
            (
                vec!["--kernel", path, "--memory", "999TiB"],
                "this host has",
            ),
            (
                vec!["--kernel", path, "--memory", "64MiB"],
                "at least 128MiB",
            ),
            (
                vec!["--kernel", path, "--disk", "a,rw"],
                "the only one is `ro`",
            ),
            (vec!["--config", "/nowhere.toml"], "cannot be read"),
        ] {
            let failure = parse(&words).unwrap_err();
            assert_eq!(failure.status, 2, "{words:?}");
            assert!(failure.message.contains(expected), "{}", failure.message);
        }
    }

    #[test]
    fn options_change_a_configuration() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("k"), boot::tests::bzimage_start()).unwrap();
        let path = folder.path().join("two.toml");
        std::fs::write(
            &path,
            "[vm.a]\nkernel = \"k\"\ncpus = 2\n[vm.b]\nkernel = \"k\"\n",
        )
        .unwrap();
        let path = path.to_str().unwrap();
        let spec = parse(&["--config", path, "--vm", "a", "--memory", "1GiB"]).unwrap();
        assert_eq!(
            (spec.name.as_str(), spec.cpus, spec.memory),
            ("a", 2, 1 << 30)
        );
        let failure = parse(&["--config", path]).unwrap_err();
        assert!(
            failure
                .message
                .contains("choose one with --vm: `a` and `b`"),
            "{failure}"
        );
    }
}
