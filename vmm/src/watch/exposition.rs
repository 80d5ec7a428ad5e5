//! Figures in Prometheus's text format.

use std::fmt::Write as _;

use super::sample::{Sample, Use};

/// The format's media type.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// One metric: its name, its kind, what it is, and its value for a tenant where it has one.
type Metric = (
    &'static str,
    &'static str,
    &'static str,
    fn(&Use) -> Option<f64>,
);

const METRICS: [Metric; 15] = [
    (
        "weir_running",
        "gauge",
        "Whether the tenant is there (1) or has ended (0).",
        |of| Some(f64::from(u8::from(of.running))),
    ),
    (
        "weir_share",
        "gauge",
        "Weight of the tenant on the accelerator.",
        |of| Some(f64::from(of.share)),
    ),
    (
        "weir_cap_ratio",
        "gauge",
        "Most of the accelerator's time that the tenant gets.",
        |of| of.cap.map(|percent| f64::from(percent) / 100.0),
    ),
    (
        "weir_device_seconds_total",
        "counter",
        "Time on the accelerator.",
        |of| Some(seconds(of.device_time_ns)),
    ),
    (
        "weir_queue_wait_seconds_total",
        "counter",
        "Time for which a command was ready and waited for the accelerator.",
        |of| Some(seconds(of.queue_wait_ns)),
    ),
    (
        "weir_turns_total",
        "counter",
        "Turns on the accelerator.",
        |of| Some(of.turns as f64),
    ),
    (
        "weir_throttled_seconds_total",
        "counter",
        "Time that the tenant's own limits have held it back.",
        |of| Some(seconds(of.throttled_ns)),
    ),
    ("weir_calls_total", "counter", "API calls.", |of| {
        Some(of.calls as f64)
    }),
    (
        "weir_refused_total",
        "counter",
        "Calls and batches that were refused.",
        |of| Some(of.refused as f64),
    ),
    (
        "weir_bytes_in_total",
        "counter",
        "Bytes to the accelerator, commands included.",
        |of| Some(of.bytes_in as f64),
    ),
    (
        "weir_bytes_out_total",
        "counter",
        "Bytes from the accelerator.",
        |of| Some(of.bytes_out as f64),
    ),
    (
        "weir_memory_bytes",
        "gauge",
        "Device memory that the tenant holds.",
        |of| Some(of.memory as f64),
    ),
    (
        "weir_memory_quota_bytes",
        "gauge",
        "Device memory that the tenant may hold.",
        |of| of.memory_quota.map(|bytes| bytes as f64),
    ),
    (
        "weir_clients",
        "gauge",
        "Processes that have the accelerator open.",
        |of| Some(of.clients as f64),
    ),
    (
        "weir_sampled_seconds",
        "gauge",
        "When the figures were read, on the host's monotonic clock.",
        |of| Some(seconds(of.at_ns)),
    ),
];

fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

/// `sample` as text.
pub fn exposition(sample: &Sample) -> String {
    let mut text = String::new();
    for (name, kind, help, value) in METRICS {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for of in &sample.tenants {
            if let Some(value) = value(of) {
                let (tenant, accelerator) = (escape(&of.tenant), escape(&of.accelerator));
                let _ = writeln!(
                    text,
                    "{name}{{tenant=\"{tenant}\",accelerator=\"{accelerator}\"}} {value}"
                );
            }
        }
    }
    text
}

/// A label's value.
fn escape(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::super::sample::tests::used;
    use super::*;

    #[test]
    fn every_line_is_of_the_format() {
        let mut alice = used("alice", 3, 1500, 750);
        alice.memory_quota = Some(1 << 40);
        let sample = Sample {
            time_ms: 0,
            tenants: vec![alice, used("b\"\\\n", 1, 0, 0)],
        };
        let text = exposition(&sample);
        assert!(text.ends_with('\n'));
        let mut names = Vec::new();
        let mut lines = text.lines().peekable();
        while let Some(help) = lines.next() {
            let help = help
                .strip_prefix("# HELP ")
                .expect("a metric begins with its help");
            let (name, words) = help.split_once(' ').unwrap();
            assert!(words.ends_with('.') && !names.contains(&name), "{name}");
            let kind = lines
                .next()
                .unwrap()
                .strip_prefix(&format!("# TYPE {name} "))
                .unwrap();
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
            while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
                let rest = line.strip_prefix(name).unwrap();
                let (labels, value) = rest.rsplit_once(' ').unwrap();
                assert!(
                    labels.starts_with("{tenant=\"")
                        && labels.ends_with("\",accelerator=\"gpu0\"}")
                );
                let _: f64 = value.parse().unwrap();
            }
            names.push(name);
        }
        assert_eq!(names.len(), METRICS.len());
        let has = |line: &str| text.lines().any(|found| found == line);
        assert!(has(
            "weir_device_seconds_total{tenant=\"alice\",accelerator=\"gpu0\"} 0.75"
        ));
        assert!(has(
            "weir_memory_quota_bytes{tenant=\"alice\",accelerator=\"gpu0\"} 1099511627776"
        ));
        assert!(has(
            "weir_share{tenant=\"b\\\"\\\\\\n\",accelerator=\"gpu0\"} 1"
        ));
        assert!(!text.contains("weir_cap_ratio{"), "nobody has a cap");
    }
}
