//! How far workers and machines are shut in here: a worker is asked, which tries the ways out.

use std::process::{Command, Stdio};

use serde_json::Value;

use super::Finding;
use crate::accelerators::worker_path;

const TOPIC: &str = "sandbox";

/// Tries it.
pub(super) fn examine() -> Vec<Finding> {
    let advice = "run the worker by hand: `weir-worker --check-sandbox --cache FOLDER`";
    match ask() {
        Ok(said) => vec![namespaces(&said), attempts(&said), memory()],
        Err(why) => vec![Finding::warning(TOPIC, why, advice)],
    }
}

fn ask() -> Result<Value, String> {
    let worker = worker_path().map_err(|error| format!("looking for the worker: {error}"))?;
    let cache = std::env::temp_dir().join(format!("weir-doctor-{}", std::process::id()));
    let output = Command::new(&worker)
        .args(["--check-sandbox", "--sandbox", "best-effort", "--cache"])
        .arg(&cache)
        .stdin(Stdio::null())
        .output();
    let _ = std::fs::remove_dir_all(&cache);
    let output = output.map_err(|error| format!("a worker cannot be tried: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    serde_json::from_str(text.trim()).map_err(|_| {
        let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        format!("workers cannot be shut in here, so they do not start: {words}")
    })
}

fn namespaces(said: &Value) -> Finding {
    match said["namespaces"].as_str() {
        Some(how @ ("as root" | "as a user")) => Finding::good(
            TOPIC,
            format!(
                "namespaces are allowed {how}: workers have a file tree of their own, machines a jail"
            ),
        ),
        _ => Finding::warning(
            TOPIC,
            "namespaces are not allowed: workers are held by Landlock and seccomp only, machines by \
             seccomp only",
            "run as root, or allow this user namespaces (user.max_user_namespaces, and on Ubuntu \
             kernel.apparmor_restrict_unprivileged_userns=0)",
        ),
    }
}

fn attempts(said: &Value) -> Finding {
    let all = said["attempts"].as_object().cloned().unwrap_or_default();
    let open: Vec<&str> = all
        .iter()
        .filter(|(_, outcome)| *outcome != "refused")
        .map(|(what, _)| what.as_str())
        .collect();
    match open.as_slice() {
        [] => Finding::good(
            TOPIC,
            format!("a worker tried {} ways out: all refused", all.len()),
        ),
        open => Finding::warning(
            TOPIC,
            format!("a worker can {}", open.join(", ")),
            "use a kernel with Landlock (Linux 5.13 or later, `lsm=landlock,...`) and namespaces",
        ),
    }
}

fn memory() -> Finding {
    // A control group is not made yet: what a worker maps shared with itself is refused instead.
    Finding::good(
        TOPIC,
        "each worker's memory, processes and files are bounded by resource limits",
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::doctor::Level;

    #[test]
    fn what_a_worker_can_do_is_told() {
        let said = json!({
            "namespaces": "none",
            "attempts": { "read /etc/passwd": "allowed", "trace": "refused" },
        });
        assert_eq!(namespaces(&said).level, Level::Warning);
        let open = attempts(&said);
        assert_eq!(open.level, Level::Warning);
        assert_eq!(open.text, "a worker can read /etc/passwd");
        let said = json!({ "namespaces": "as a user", "attempts": { "trace": "refused" } });
        assert_eq!(namespaces(&said).level, Level::Good);
        assert_eq!(attempts(&said).level, Level::Good);
    }
}
