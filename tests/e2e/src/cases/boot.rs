//! Machines start, stop, restart and fail as machines do.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::artifacts::Artifacts;
use crate::console::Console;
use crate::fleet::BOOT;

/// Exit statuses of `weir run`, as `weir run --help` lists them.
const PANICKED: i32 = 3;
const TRIPLE_FAULT: i32 = 4;

/// A guest that a test has for itself.
fn boot(mut command: Command) -> Result<Console> {
    command.stderr(std::process::Stdio::inherit());
    let mut console = Console::start(command)?;
    console.log_in(BOOT)?;
    Ok(console)
}

fn ended(console: &mut Console) -> Result<ExitStatus> {
    let began = Instant::now();
    loop {
        if let Some(status) = console.child().try_wait()? {
            return Ok(status);
        }
        ensure!(began.elapsed() < BOOT, "the machine does not end");
        thread::sleep(Duration::from_millis(50));
    }
}

/// The guest sees the processors, memory and disks that it was given, and its power-off is ours.
pub fn shape_and_power_off(artifacts: &Artifacts) -> Result<()> {
    let disk = artifacts.scratch.join("written.img");
    fs::write(&disk, vec![0; 4 << 20])?;
    let mut command = artifacts.run("6.12");
    command
        .args(["--cpus", "4", "--memory", "512MiB", "--disk"])
        .arg(&disk);
    let mut console = boot(command)?;
    let quick = Duration::from_secs(30);
    ensure!(console.sh_ok("nproc", quick)?.trim() == "4");
    let total: u64 = console
        .sh_ok(
            "sed -n 's/^MemTotal: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo",
            quick,
        )?
        .trim()
        .parse()?;
    ensure!(
        (400 << 10..512 << 10).contains(&total),
        "512 MiB give {total} KiB"
    );
    let online = console.sh_ok("cat /sys/devices/system/cpu/online", quick)?;
    ensure!(online.trim() == "0-3", "processors {online}");
    let refused = console.sh("echo x >/dev/vda", quick)?;
    ensure!(refused.status != 0, "a read-only disk was written");
    console.sh_ok(
        "echo kept | dd of=/dev/vdc bs=512 seek=100 conv=sync,fsync",
        quick,
    )?;
    console.sh_ok(
        "modprobe -q virtio-rng; head -c 64 /dev/hwrng | wc -c | grep -qx 64",
        quick,
    )?;
    let vectors = console.sh_ok("grep -c PCI-MSIX /proc/interrupts", quick)?;
    ensure!(
        vectors.trim().parse::<u32>()? >= 3,
        "the disks use MSI-X: {vectors}"
    );
    console.send("exit\n")?;
    let status = ended(&mut console)?;
    ensure!(status.code() == Some(0), "a power-off ends with {status}");
    let written = fs::read(&disk)?;
    ensure!(
        written[51_200..].starts_with(b"kept\n"),
        "what was written is on the disk"
    );
    Ok(())
}

/// The older kernel, the least memory, one processor.
pub fn old_kernel_small_machine(artifacts: &Artifacts) -> Result<()> {
    let mut command = artifacts.run("6.1");
    command.args(["--cpus", "1", "--memory", "192MiB"]);
    let mut console = boot(command)?;
    let release = console.sh_ok("uname -r", Duration::from_secs(30))?;
    ensure!(release.starts_with("6.1."), "the kernel is {release}");
    console.send("exit\n")?;
    ensure!(ended(&mut console)?.success());
    Ok(())
}

/// Memory on both sides of the hole for devices, and as many processors as there can be.
pub fn large_machine(artifacts: &Artifacts) -> Result<()> {
    let mut command = artifacts.run("6.12");
    command.args(["--cpus", "16", "--memory", "5GiB"]);
    let mut console = boot(command)?;
    let quick = Duration::from_secs(60);
    ensure!(console.sh_ok("nproc", quick)?.trim() == "16");
    let total: u64 = console
        .sh_ok(
            "sed -n 's/^MemTotal: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo",
            quick,
        )?
        .trim()
        .parse()?;
    ensure!(total > 4_700 << 10, "5 GiB give {total} KiB");
    console.send("exit\n")?;
    ensure!(ended(&mut console)?.success());
    Ok(())
}

/// A guest that restarts is there again in the same process; SIGTERM presses its power button.
pub fn reboot_then_power_button(artifacts: &Artifacts) -> Result<()> {
    let mut console = boot(artifacts.run("6.12"))?;
    let pid = console.child().id();
    console.send("busybox reboot -f\n")?;
    console.log_in(BOOT).context("after the restart")?;
    ensure!(console.child().id() == pid);
    let pid = rustix::process::Pid::from_child(console.child());
    rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
    console.wait_for("weir-guest: power button", BOOT)?;
    let status = ended(&mut console)?;
    ensure!(status.code() == Some(0), "after the power button: {status}");
    Ok(())
}

/// A panic has a status of its own.
pub fn panic_has_its_status(artifacts: &Artifacts) -> Result<()> {
    let mut console = boot(artifacts.run("6.12"))?;
    console.send("echo c >/proc/sysrq-trigger\n")?;
    let status = ended(&mut console)?;
    ensure!(
        status.signal().is_none(),
        "the machine itself crashed: {status}"
    );
    ensure!(
        status.code() == Some(PANICKED),
        "a panic ends with {status}"
    );
    Ok(())
}

/// A processor that cannot go on has a status of its own: an ELF kernel of two instructions that
/// loads an empty interrupt table and breaks.
pub fn triple_fault_has_its_status(artifacts: &Artifacts) -> Result<()> {
    let kernel = artifacts.scratch.join("fault.elf");
    fs::write(&kernel, faulting_kernel())?;
    let output = artifacts
        .weir()
        .args(["run", "--memory", "128MiB", "--kernel"])
        .arg(&kernel)
        .stdin(std::process::Stdio::null())
        .output()?;
    let message = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(TRIPLE_FAULT),
        "{}: {message}",
        output.status
    );
    ensure!(
        message.contains("triple fault"),
        "the message is {message:?}"
    );
    Ok(())
}

/// The smallest ELF kernel that ends in a triple fault: `lidt` of an empty table, then `ud2`.
fn faulting_kernel() -> Vec<u8> {
    const ENTRY: u64 = 0x20_0000;
    let code: &[u8] = &[
        0x31, 0xc0, // xor eax, eax
        0x50,
        0x50, // push rax; push rax: a table of no entries (the stack may be anything: it
        // faults there already, with the same end)
        0x0f, 0x01, 0x1c, 0x24, // lidt [rsp]
        0x0f, 0x0b, // ud2
    ];
    let mut elf = vec![0; 0x1000];
    elf[..8].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1, 0]);
    let mut put = |at: usize, bytes: &[u8]| elf[at..at + bytes.len()].copy_from_slice(bytes);
    put(16, &2u16.to_le_bytes()); // an executable
    put(18, &62u16.to_le_bytes()); // for x86-64
    put(20, &1u32.to_le_bytes());
    put(24, &ENTRY.to_le_bytes());
    put(32, &64u64.to_le_bytes()); // program headers
    put(52, &64u16.to_le_bytes());
    put(54, &56u16.to_le_bytes());
    put(56, &1u16.to_le_bytes());
    put(64, &1u32.to_le_bytes()); // one segment to load
    put(68, &5u32.to_le_bytes());
    put(72, &0x1000u64.to_le_bytes()); // offset
    put(80, &ENTRY.to_le_bytes());
    put(88, &ENTRY.to_le_bytes());
    put(96, &(code.len() as u64).to_le_bytes());
    put(104, &(code.len() as u64).to_le_bytes());
    put(112, &0x1000u64.to_le_bytes());
    elf.extend_from_slice(code);
    elf
}
