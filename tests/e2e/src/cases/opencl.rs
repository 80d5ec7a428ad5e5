//! Programs in guests get what the same programs get on the host.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::artifacts::Artifacts;
use crate::fleet::{self, Fleet, QUOTA};

/// Time for a test program in a guest.
const PROGRAM: Duration = Duration::from_secs(240);

/// What `program` (a path below the folder of test programs, with arguments) prints on the host.
fn on_host(artifacts: &Artifacts, program: &str) -> Result<String> {
    let line = command_line(&artifacts.programs.display().to_string(), program);
    let output = Command::new("sh").args(["-c", &line]).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        output.status.success(),
        "on the host, {program} ended with {}:\n{text}",
        output.status
    );
    Ok(text)
}

fn command_line(folder: &str, program: &str) -> String {
    if program
        .split(' ')
        .next()
        .is_some_and(|name| name.ends_with(".py"))
    {
        format!("cd {folder} && /usr/bin/python3 ./{program}")
    } else {
        format!("cd {folder} && ./{program}")
    }
}

fn in_guest(program: &str) -> String {
    format!("( {} )", command_line("/weir/programs", program))
}

/// Runs `program` on the host and in Alice; what they print must be the same.
pub fn same_as_host(artifacts: &Artifacts, program: &str) -> Result<()> {
    let wanted = on_host(artifacts, program)?;
    let got = fleet::with(artifacts, |fleet| {
        fleet.alice.sh_ok(&in_guest(program), PROGRAM)
    })?;
    ensure!(
        got == wanted,
        "the host prints\n{wanted}and the guest\n{got}"
    );
    Ok(())
}

/// A program that verifies itself, and whose output depends on the tenant's quota.
pub fn passes_in_guest(artifacts: &Artifacts, program: &str) -> Result<()> {
    fleet::with(artifacts, |fleet| {
        fleet.alice.sh_ok(&in_guest(program), PROGRAM)
    })
    .map(drop)
}

/// `clinfo` shows the host's device, with the quota for its memory.
pub fn clinfo_shows_the_host_s_device(artifacts: &Artifacts) -> Result<()> {
    let field = |text: &str, name: &str| {
        text.lines()
            .find(|line| line.contains(name))
            .and_then(|line| line.split(name).nth(1))
            .map(|value| value.trim().to_owned())
    };
    let host = Command::new("clinfo")
        .arg("--raw")
        .output()
        .context("clinfo on the host")?;
    let host = String::from_utf8_lossy(&host.stdout).into_owned();
    let guest = fleet::with(artifacts, |fleet| {
        fleet.alice.sh_ok("clinfo --raw", PROGRAM)
    })?;
    for name in [
        "CL_PLATFORM_NAME",
        "CL_DEVICE_NAME",
        "CL_DEVICE_VERSION",
        "CL_DRIVER_VERSION",
        "CL_DEVICE_MAX_COMPUTE_UNITS",
        "CL_DEVICE_MAX_WORK_GROUP_SIZE",
        "CL_DEVICE_LOCAL_MEM_SIZE",
    ] {
        let (wanted, got) = (field(&host, name), field(&guest, name));
        ensure!(
            got.is_some() && got == wanted,
            "{name}: host {wanted:?}, guest {got:?}"
        );
    }
    let memory = field(&guest, "CL_DEVICE_GLOBAL_MEM_SIZE").context("the device has memory")?;
    ensure!(
        memory.parse() == Ok(QUOTA),
        "global memory is {memory}, the quota {QUOTA}"
    );
    Ok(())
}

/// Two processes of one guest at once, and two guests at once, all right.
pub fn at_once(artifacts: &Artifacts, program: &str) -> Result<()> {
    let wanted = on_host(artifacts, program)?;
    let one = in_guest(program);
    let twice = format!(
        "{one} >/tmp/one & first=$!; {one} >/tmp/two || exit 1; wait $first || exit 1; \
         [ \"$(cat /tmp/one)\" = \"$(cat /tmp/two)\" ] && cat /tmp/one"
    );
    let twice = format!("( {twice} )");
    fleet::with(artifacts, |Fleet { alice, bob, .. }| {
        let (first, second) = std::thread::scope(|scope| {
            let second = scope.spawn(|| bob.sh_ok(&twice, 2 * PROGRAM));
            (
                alice.sh_ok(&twice, 2 * PROGRAM),
                second.join().expect("no panic"),
            )
        });
        for (name, got) in [("alice", first?), ("bob", second?)] {
            ensure!(got == wanted, "the host prints\n{wanted}and {name}\n{got}");
        }
        Ok(())
    })
}

/// The arena is mapped write-back cached: copies through it are about as fast as through ordinary
/// memory.
pub fn arena_is_cached(artifacts: &Artifacts) -> Result<()> {
    let text = fleet::with(artifacts, |fleet| {
        let warned = fleet
            .alice
            .sh("dmesg | grep -i 'mapped uncached'", PROGRAM)?;
        ensure!(warned.status != 0, "the module says: {}", warned.text);
        fleet
            .alice
            .sh_ok("/weir/bin/weir-guest-test arena-speed", PROGRAM)
    })?;
    let ratio: f64 = text
        .lines()
        .find_map(|line| line.strip_prefix("ratio "))
        .context("a ratio is printed")?
        .parse()?;
    ensure!(
        ratio < 3.0,
        "copies through the arena take {ratio} times as long:\n{text}"
    );
    Ok(())
}
