//! The rig's hardware: QEMU's command line and the sockets that lead into it.

use std::fs::{self, File};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::Options;
use super::children::Bound;
use crate::kernels::Kernel;
use crate::tools::Tools;

/// A running machine.
pub struct Machine {
    /// QEMU and the file system daemon, in the order in which they are to end.
    pub children: [Bound; 2],
    /// Carries the command's exit status, as a line, at its end.
    pub control: UnixStream,
    /// The command's standard output.
    pub out: UnixStream,
    /// The command's standard error.
    pub err: UnixStream,
    /// The command's standard input.
    pub input: UnixStream,
}

/// Starts the machine. Its console and all of QEMU's own messages go to `log`.
pub fn start(
    tools: &Tools,
    kernel: &Kernel,
    initrd: &Path,
    log: &Path,
    options: &Options,
) -> Result<Machine> {
    let messages = File::create(log).with_context(|| format!("creating {}", log.display()))?;
    let (files, daemon) = share_files(tools, log, &messages)?;

    let mut qemu = tools.qemu();
    qemu.args([
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-no-reboot",
    ])
    .args(["-machine", "q35,smm=off,memory-backend=ram"])
    .args(["-accel", "tcg,thread=multi", "-cpu", "EPYC,+svm,+npt"])
    .args(["-smp", &options.cpus.to_string()])
    .args(["-m", &format!("{}M", options.memory_mib)])
    .arg("-object")
    .arg(format!(
        "memory-backend-memfd,id=ram,size={}M,share=on",
        options.memory_mib
    ))
    .arg("-kernel")
    .arg(kernel.image())
    .arg("-initrd")
    .arg(initrd)
    // A watchdog would take the slowness of emulation for a hang.
    .args([
        "-append",
        "console=ttyS0 quiet panic=-1 nowatchdog mitigations=off",
    ])
    .args([
        "-chardev",
        "stdio,id=console,signal=off",
        "-serial",
        "chardev:console",
    ])
    .args(["-device", "virtio-rng-pci"])
    .arg("-chardev")
    .arg(format!("socket,id=files,fd={}", files.as_raw_fd()))
    .args([
        "-device",
        "vhost-user-fs-pci,chardev=files,tag=host,queue-size=1024",
    ])
    .args(["-device", "virtio-serial-pci"]);
    let mut theirs = vec![OwnedFd::from(files)];
    let mut port = |qemu: &mut Command, name: &str| -> Result<UnixStream> {
        let (ours, other) = UnixStream::pair().context("making a pair of sockets")?;
        qemu.arg("-chardev")
            .arg(format!("socket,id={name},fd={}", other.as_raw_fd()))
            .arg("-device")
            .arg(format!("virtserialport,chardev={name},name={name}"));
        theirs.push(other.into());
        Ok(ours)
    };
    let control = port(&mut qemu, "control")?;
    let out = port(&mut qemu, "out")?;
    let err = port(&mut qemu, "err")?;
    let input = port(&mut qemu, "in")?;

    qemu.stdin(Stdio::null())
        .stdout(messages.try_clone()?)
        .stderr(messages);
    let qemu = Bound::spawn(&mut qemu, &theirs.iter().collect::<Vec<_>>())?;
    Ok(Machine {
        children: [qemu, daemon],
        control,
        out,
        err,
        input,
    })
}

/// Starts the daemon that serves the host's files, and returns the connection for QEMU.
fn share_files(tools: &Tools, log: &Path, messages: &File) -> Result<(UnixStream, Bound)> {
    // The daemon wants a listening socket. Its name is gone again before anybody else sees it, and it is
    // short, as names of sockets must be.
    let name = log.file_stem().unwrap_or_default().to_string_lossy();
    let path = std::env::temp_dir().join(format!("weir-rig-{name}"));
    let _ = fs::remove_file(&path);
    let listener = UnixListener::bind(&path)
        .with_context(|| format!("making the socket {}", path.display()))?;
    let connection = UnixStream::connect(&path);
    fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
    let connection = connection.with_context(|| format!("connecting to {}", path.display()))?;

    // As standard input, since sudo hands on no other descriptor.
    let mut daemon = tools.virtiofsd();
    daemon
        .arg("--fd=0")
        .args([
            "-o",
            "source=/",
            "-o",
            "cache=always",
            "-o",
            "sandbox=chroot",
        ])
        .stdin(OwnedFd::from(listener))
        .stdout(messages.try_clone()?)
        .stderr(messages.try_clone()?);
    let daemon = Bound::spawn(&mut daemon, &[])?;
    Ok((connection, daemon))
}
