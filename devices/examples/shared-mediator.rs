//! Several tenants of one accelerator, without a VMM or a supervisor: for trying how it is shared.
//!
//! ```text
//! shared-mediator POLICY WORKER CACHE_DIR PLATFORM SOCKET=SHARE[,CAP%]…
//! ```
//!
//! POLICY is `fair`, `fifo`, `strict`, or `none` for no arbiter at all. Each second it prints what
//! each tenant has used; the end of standard input ends it.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use weir_devices::accel::arbiter::{Arbiter, PolicyKind, TenantEnd};
use weir_devices::accel::{AccelConfig, LocalServer, Sharing};

fn main() -> anyhow::Result<()> {
    env_logger::init();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [policy, worker, cache_dir, platform, tenants @ ..] = args.as_slice() else {
        bail!("usage: shared-mediator POLICY WORKER CACHE_DIR PLATFORM SOCKET=SHARE[,CAP%]…");
    };
    let arbiter = match policy.as_str() {
        "none" => None,
        "fair" => Some(Arbiter::start("shared", PolicyKind::Fair)?),
        "fifo" => Some(Arbiter::start("shared", PolicyKind::Fifo)?),
        "strict" => Some(Arbiter::start("shared", PolicyKind::Strict)?),
        other => bail!("{other} is no policy"),
    };
    let mut servers = Vec::new();
    let mut tenancies = Vec::new();
    for tenant in tenants {
        let (socket, terms) = tenant.split_once('=').context("SOCKET=SHARE")?;
        let (share, cap) = match terms.split_once(',') {
            Some((share, cap)) => (share, Some(cap.trim_end_matches('%').parse()?)),
            None => (terms, None),
        };
        let mut config = AccelConfig::new("shared", "opencl", weir_apis::APIS, worker, cache_dir);
        config.platform = platform.clone();
        config.limits.share = share.parse().context("SHARE is a number")?;
        config.limits.cap = cap;
        config.sharing = match &arbiter {
            None => Sharing::Unruled,
            Some(arbiter) => {
                let (tenancy, files) = arbiter.join(socket, config.limits.terms())?;
                tenancies.push(tenancy);
                Sharing::With(Arc::new(TenantEnd::open(files)?))
            }
        };
        let _ = std::fs::remove_file(socket);
        servers.push((socket, LocalServer::new(config, socket)?));
    }
    let over = Arc::new(AtomicBool::new(false));
    let ended = over.clone();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        ended.store(true, Ordering::Relaxed);
    });
    let mut before = vec![0; servers.len()];
    while !over.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_secs(1));
        let stats = servers.iter().map(|(_, server)| server.handle().stats());
        let used: Vec<u64> = stats.map(|stats| stats.totals.device_time_ns).collect();
        let spent: Vec<u64> = used.iter().zip(&before).map(|(now, b)| now - b).collect();
        let all: u64 = spent.iter().sum();
        let parts = spent.iter().map(|ns| {
            let share = *ns as f64 / all.max(1) as f64;
            format!("{:7.2} ms {:5.2} %", *ns as f64 / 1e6, 100.0 * share)
        });
        println!("{}", parts.collect::<Vec<_>>().join("   "));
        before = used;
    }
    if let Some(arbiter) = &arbiter {
        println!("{}", serde_json::to_string_pretty(&arbiter.figures())?);
    }
    Ok(())
}
