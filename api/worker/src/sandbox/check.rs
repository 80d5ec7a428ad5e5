//! Tries what a sandboxed worker must not be able to do.

use std::io;

use serde_json::{Map, Value, json};

use super::{Namespaces, done};

/// What the host allowed the worker to leave, and each attempt with what came of it: `refused`, or
/// `allowed`.
pub(crate) fn attempts(namespaces: Namespaces) -> Value {
    let file = |path: &str| std::fs::File::open(path).map(drop);
    let attempts: [(&str, io::Result<()>); 12] = [
        ("read /etc/shadow", file("/etc/shadow")),
        ("read /etc/passwd", file("/etc/passwd")),
        ("list /root", std::fs::read_dir("/root").map(drop)),
        ("list /home", std::fs::read_dir("/home").map(drop)),
        ("read the parent's memory", parent_memory()),
        ("write /tmp", std::fs::write("/tmp/weir-sandbox-check", "x")),
        ("write /usr", std::fs::write("/usr/weir-sandbox-check", "x")),
        ("open a socket", socket(libc::AF_INET)),
        ("open a Unix socket", socket(libc::AF_UNIX)),
        // SAFETY: stops nobody: it is refused, or this process is traced by its parent.
        ("trace", done(unsafe { libc::ptrace(libc::PTRACE_TRACEME) })),
        ("signal the parent", signal_parent()),
        ("unshare", unshare()),
    ];
    let outcome = |result: &io::Result<()>| match result {
        Ok(()) => Value::from("allowed"),
        Err(error) => match error.raw_os_error() {
            // What is not there in the worker's own file tree cannot be had either.
            Some(libc::EPERM | libc::EACCES | libc::ENOENT | libc::EROFS) => Value::from("refused"),
            _ => Value::from(format!("failed: {error}")),
        },
    };
    let table = attempts
        .iter()
        .map(|(what, result)| ((*what).to_owned(), outcome(result)));
    let namespaces = match namespaces {
        Namespaces::ByRoot => "as root",
        Namespaces::ByUser => "as a user",
        Namespaces::None => "none",
    };
    json!({
        "namespaces": namespaces,
        "user": rustix::process::getuid().as_raw(),
        "attempts": table.collect::<Map<_, _>>(),
    })
}

fn socket(family: i32) -> io::Result<()> {
    // SAFETY: opens a socket that the end of this process closes.
    done(unsafe { libc::socket(family, libc::SOCK_STREAM, 0) }.into())
}

fn unshare() -> io::Result<()> {
    // SAFETY: gives this process, which is about to end, a user namespace.
    done(unsafe { libc::unshare(libc::CLONE_NEWUSER) }.into())
}

fn parent_memory() -> io::Result<()> {
    let path = format!("/proc/{}/mem", std::os::unix::process::parent_id());
    std::fs::File::open(path).map(drop)
}

fn signal_parent() -> io::Result<()> {
    // SAFETY: signal 0 asks only whether the signal could be sent.
    done(unsafe { libc::kill(libc::getppid(), 0) }.into())
}
