//! A tenant's sources and kernels try to get out of a real worker. On the processor a kernel is
//! native code, so it can make any system call that the sandbox leaves it.

mod harness;

use std::path::Path;
use std::time::{Duration, Instant};

use harness::{Argument, Client, SECRET, Setup};
use weir_api_opencl::table::functions as f;
use weir_wire::handle::Handle;

/// Makes system calls; the answers are the kernel's, negative for errors.
const SYSTEM_CALL: &str = r#"
long call(long number, long a, long b, long c, long d, long e) {
    long answer;
    __asm__ volatile("movq %5, %%r10; movq %6, %%r8; xorq %%r9, %%r9; syscall"
        : "=a"(answer) : "0"(number), "D"(a), "S"(b), "d"(c), "r"(d), "r"(e)
        : "rcx", "r8", "r9", "r10", "r11", "memory");
    return answer;
}
"#;

const EPERM: i64 = -1;
const ENOENT: i64 = -2;
const EAGAIN: i64 = -11;
const ENOMEM: i64 = -12;
const EACCES: i64 = -13;
const ENOSYS: i64 = -38;

struct Attacker {
    cache: tempfile::TempDir,
    client: Client,
    setup: Setup,
}

impl Attacker {
    fn new(arguments: &[&str]) -> Self {
        let cache = tempfile::tempdir().unwrap();
        let mut client = Client::with(cache.path(), arguments);
        let setup = client.setup(0);
        Self {
            cache,
            client,
            setup,
        }
    }

    /// Runs `source`'s kernel `k` with one buffer of longs, once; answers the buffer.
    fn run(&mut self, source: &str, longs: usize) -> Vec<i64> {
        let (out, kernel) = self.launch(source, longs);
        let len = 8 * longs as u64;
        let at = self.client.allocate(len);
        let error = self.client.call(
            f::clEnqueueReadBuffer,
            &[
                ("command_queue", Argument::Handle(self.setup.queue)),
                ("buffer", Argument::Handle(out)),
                ("blocking_read", Argument::Scalar(1)),
                ("cb", Argument::Scalar(len)),
                ("ptr", Argument::Arena(at, len)),
            ],
        );
        assert_eq!(error, 0);
        let _ = kernel;
        let bytes = self.client.read(at, len as usize);
        let (words, _) = bytes.as_chunks::<8>();
        words.iter().map(|word| i64::from_le_bytes(*word)).collect()
    }

    fn launch(&mut self, source: &str, longs: usize) -> (Handle, Handle) {
        let out = self.client.buffer(&self.setup, 8 * longs as u64);
        let source = format!("{SYSTEM_CALL}{source}");
        let kernel = self.client.kernel(&self.setup, &source, "k");
        self.client.argument(kernel, 0, Ok(out));
        self.client.queue(
            f::clEnqueueNDRangeKernel,
            &[
                ("command_queue", Argument::Handle(self.setup.queue)),
                ("kernel", Argument::Handle(kernel)),
                ("work_dim", Argument::Scalar(1)),
                ("global_work_size", Argument::Bytes(&1u64.to_le_bytes())),
            ],
        );
        (out, kernel)
    }

    /// What `opens` answers when native code opens each of `paths` for reading, or, with `write`,
    /// for writing (and making).
    fn open(&mut self, paths: &[String], write: bool) -> Vec<i64> {
        let flags = if write { libc_flags::WRITE } else { 0 };
        let mut body = String::new();
        for (i, path) in paths.iter().enumerate() {
            let bytes: Vec<String> = path.bytes().chain([0]).map(|b| b.to_string()).collect();
            body.push_str(&format!(
                "{{ char path[] = {{{}}}; out[{i}] = call(2, (long)path, {flags}, 0600, 0, 0); }}\n",
                bytes.join(",")
            ));
        }
        self.run(
            &format!("kernel void k(global long *out) {{ {body} }}"),
            paths.len(),
        )
    }
}

mod libc_flags {
    /// `O_WRONLY | O_CREAT`.
    pub const WRITE: i32 = 0o101;
}

fn number_of_processes_of(pid: u32) -> usize {
    let tree = std::fs::read_dir("/proc").unwrap().flatten();
    let is_below = |mut child: u32| {
        while child > 1 {
            if child == pid {
                return true;
            }
            let Ok(stat) = std::fs::read_to_string(format!("/proc/{child}/stat")) else {
                return false;
            };
            let rest = stat.rsplit(')').next().unwrap_or_default();
            let parent = rest.split_whitespace().nth(1).and_then(|p| p.parse().ok());
            child = parent.unwrap_or(0);
        }
        false
    };
    tree.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|child| is_below(*child))
        .count()
}

#[test]
fn a_source_includes_nothing_of_the_host() {
    let mut attacker = Attacker::new(&[]);
    let host = tempfile::tempdir().unwrap();
    let secret = host.path().join("secret.h");
    std::fs::write(&secret, "#error xyzzy_file\n").unwrap();
    // Another tenant's cache lies beside.
    let other = attacker.cache.path().parent().unwrap().join(format!(
        "{}-other",
        attacker.cache.path().file_name().unwrap().to_str().unwrap()
    ));
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("program.cl"), "#error xyzzy_other\n").unwrap();
    let paths = [
        "/etc/passwd".to_owned(),
        "/etc/shadow".to_owned(),
        "/etc/hostname".to_owned(),
        "/root/.bashrc".to_owned(),
        "/proc/self/environ".to_owned(),
        format!("/proc/{}/environ", std::process::id()),
        format!("/proc/{}/cmdline", std::process::id()),
        "/proc/cmdline".to_owned(),
        "/proc/self/mountinfo".to_owned(),
        secret.display().to_string(),
        other.join("program.cl").display().to_string(),
        format!("../../../../../..{}", secret.display()),
        concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml").to_owned(),
    ];
    for path in paths {
        let source = format!("#include \"{path}\"\nkernel void k(global long *out) {{}}");
        let (_, error, log) = attacker.client.build(&attacker.setup, &source);
        for leaked in [
            "xyzzy_file",
            "xyzzy_other",
            SECRET,
            "root:",
            "bin/bash",
            "[package]",
        ] {
            assert!(!log.contains(leaked), "{path}: {error} {log}");
        }
        // Of itself it may see what the kernel shows of it.
        assert!(
            error != 0 || path.starts_with("/proc/self/"),
            "{path} was included"
        );
    }
    std::fs::remove_dir_all(&other).unwrap();
    // And the worker still works.
    assert_eq!(
        attacker.run("kernel void k(global long *out) { *out = 7; }", 1),
        [7]
    );
}

#[test]
fn native_code_opens_nothing_of_the_host() {
    let mut attacker = Attacker::new(&[]);
    let host = tempfile::tempdir().unwrap();
    let secret = host.path().join("secret");
    std::fs::write(&secret, "secret").unwrap();
    let vmm = std::process::id();
    let paths = [
        "/etc/passwd".to_owned(),
        secret.display().to_string(),
        format!("/proc/{vmm}/mem"),
        format!("/proc/{vmm}/environ"),
        format!("/proc/{}/maps", attacker.client.child.id()),
        "/dev/kvm".to_owned(),
        "/dev/mem".to_owned(),
        "/dev/vda".to_owned(),
        "/dev/tty".to_owned(),
        "/run/weir/control.sock".to_owned(),
        "/".to_owned(),
        "/proc".to_owned(),
    ];
    for (path, answer) in paths.iter().zip(attacker.open(&paths, false)) {
        assert!(
            [EPERM, ENOENT, EACCES].contains(&answer),
            "{path}: {answer}"
        );
    }
    let paths = [
        "/usr/lib/weir-was-here".to_owned(),
        "/weir-was-here".to_owned(),
        "/tmp/weir-was-here".to_owned(),
        "/etc/OpenCL/vendors/weir-was-here.icd".to_owned(),
        secret.display().to_string(),
        "/proc/sys/kernel/core_pattern".to_owned(),
        "/proc/sysrq-trigger".to_owned(),
        "/sys/kernel/mm/ksm/run".to_owned(),
    ];
    for (path, answer) in paths.iter().zip(attacker.open(&paths, true)) {
        assert!(answer < 0, "{path}: {answer}");
    }
    assert_eq!(std::fs::read_to_string(&secret).unwrap(), "secret");
}

#[test]
fn native_code_makes_only_harmless_system_calls() {
    let mut attacker = Attacker::new(&[]);
    let vmm = i64::from(std::process::id());
    let calls: &[(&str, i64, [i64; 4])] = &[
        ("socket(AF_UNIX)", 41, [1, 1, 0, 0]),
        ("socket(AF_INET)", 41, [2, 1, 0, 0]),
        ("socket(AF_NETLINK)", 41, [16, 3, 0, 0]),
        ("ptrace(ATTACH) of whoever started it", 101, [16, vmm, 0, 0]),
        ("kill of whoever started it", 62, [vmm, 9, 0, 0]),
        ("kill of all", 62, [-1, 9, 0, 0]),
        ("kill of the process group", 62, [0, 9, 0, 0]),
        ("tgkill", 234, [vmm, vmm, 9, 0]),
        ("pidfd_open", 434, [vmm, 0, 0, 0]),
        ("process_vm_readv", 310, [vmm, 0, 0, 0]),
        ("setuid(0)", 105, [0, 0, 0, 0]),
        ("setsid", 112, [0, 0, 0, 0]),
        ("unshare(NEWUSER)", 272, [0x1000_0000, 0, 0, 0]),
        ("clone(NEWUSER)", 56, [0x1000_0011, 0, 0, 0]),
        ("mount", 165, [0, 0, 0, 0]),
        ("pivot_root", 155, [0, 0, 0, 0]),
        ("chroot", 161, [0, 0, 0, 0]),
        ("bpf", 321, [0, 0, 0, 0]),
        ("io_uring_setup", 425, [8, 0, 0, 0]),
        ("perf_event_open", 298, [0, 0, 0, 0]),
        ("userfaultfd", 323, [0, 0, 0, 0]),
        ("keyctl", 250, [0, 0, 0, 0]),
        ("memfd_create", 319, [0, 0, 0, 0]),
        ("shmget", 29, [0, 4096, 0o1600, 0]),
        ("shared memory of no file", 9, [0, 4096, 3, 0x21]),
        ("reboot", 169, [0, 0, 0, 0]),
        ("iopl", 172, [3, 0, 0, 0]),
        ("modify_ldt", 154, [0, 0, 0, 0]),
        ("a system call that there is not", 9999, [0, 0, 0, 0]),
        ("getpid by its x32 number", 0x4000_0027, [0, 0, 0, 0]),
    ];
    let body: String = calls
        .iter()
        .enumerate()
        .map(|(i, (_, number, [a, b, c, d]))| {
            format!("out[{i}] = call({number}, {a}, {b}, {c}, {d}, -1);\n")
        })
        .collect();
    let source = format!("kernel void k(global long *out) {{ {body} }}");
    let answers = attacker.run(&source, calls.len());
    for ((what, ..), answer) in calls.iter().zip(answers) {
        assert!([EPERM, ENOSYS].contains(&answer), "{what}: {answer}");
    }
    // clone3, by which namespaces could be asked for out of a filter's sight.
    let answer = attacker.run(
        "kernel void k(global long *out) { *out = call(435, 0, 0, 0, 0, 0); }",
        1,
    );
    assert_eq!(answer, [ENOSYS]);
}

#[test]
fn a_fork_bomb_is_bounded_and_ends_with_its_worker() {
    let mut attacker = Attacker::new(&[]);
    let pid = attacker.client.child.id();
    let answers = attacker.run(
        "kernel void k(global long *out) {
            long made = 0, answer = 0;
            while (made < 100000) {
                answer = call(57, 0, 0, 0, 0, 0);
                if (answer == 0) for (;;) call(34, 0, 0, 0, 0, 0);
                if (answer < 0) break;
                made++;
            }
            out[0] = made; out[1] = answer;
        }",
        2,
    );
    println!("{answers:?}");
    assert!(answers[0] < 10_000, "{answers:?}");
    assert!([EAGAIN, EPERM, ENOMEM].contains(&answers[1]), "{answers:?}");
    let children = number_of_processes_of(pid);
    assert!(
        children as i64 > answers[0] / 2,
        "{children} of {answers:?}"
    );
    // An innocent client beside it.
    let mut innocent = Attacker::new(&[]);
    assert_eq!(
        innocent.run("kernel void k(global long *out) { *out = 7; }", 1),
        [7]
    );

    let group = rustix::process::Pid::from_raw(pid as i32).unwrap();
    let cache = attacker.cache;
    drop(attacker.client);
    let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    let deadline = Instant::now() + Duration::from_secs(20);
    while processes_with_cache(cache.path()) > 0 {
        assert!(Instant::now() < deadline, "the bomb outlives its worker");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Processes whose command line names `cache`.
fn processes_with_cache(cache: &Path) -> usize {
    let wanted = cache.to_str().unwrap();
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|entry| std::fs::read_to_string(entry.path().join("cmdline")).ok())
        .filter(|line| line.contains(wanted))
        .count()
}

#[test]
fn a_memory_bomb_is_bounded() {
    let mut attacker = Attacker::new(&["--memory", "1500000000"]);
    let answers = attacker.run(
        "kernel void k(global long *out) {
            long made = 0, answer = 0;
            while (made < 1000) {
                answer = call(9, 0, 1 << 26, 3, 0x22, -1);
                if (answer < 0 && answer > -4096) break;
                for (long at = 0; at < 1 << 26; at += 4096) *(volatile char *)(answer + at) = 1;
                made++;
            }
            out[0] = made; out[1] = answer;
        }",
        2,
    );
    println!("{answers:?}");
    assert!(answers[0] > 0 && answers[0] < 24, "{answers:?}");
    assert_eq!(answers[1], ENOMEM);
}

#[test]
fn wild_pointers_cost_their_own_worker() {
    let mut innocent = Attacker::new(&[]);
    for (what, wild) in [
        ("null", "*(volatile global long *)0 = 1;"),
        (
            "the kernel's half",
            "*(volatile global long *)0xffff800000000000ul = 1;",
        ),
        (
            "far outside of the buffer",
            "for (long i = 0;; i += 512) out[i] = 1;",
        ),
        (
            "far before the buffer",
            "for (long i = 0;; i -= 512) out[i] = 1;",
        ),
    ] {
        let mut attacker = Attacker::new(&[]);
        attacker.launch(&format!("kernel void k(global long *out) {{ {wild} }}"), 1);
        let _ = attacker.client.send(
            f::clFinish,
            &[("command_queue", Argument::Handle(attacker.setup.queue))],
            0,
            0,
        );
        let deadline = Instant::now() + Duration::from_secs(60);
        let status = loop {
            if let Some(status) = attacker.client.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "{what}: the worker goes on");
            std::thread::sleep(Duration::from_millis(10));
        };
        println!("{what}: {status}");
        assert!(!status.success());
        assert_eq!(
            innocent.run("kernel void k(global long *out) { *out = 7; }", 1),
            [7],
            "after {what}"
        );
    }
}
