//! A mediator for programs of this machine, without a VMM: for trying a guest library and a worker
//! natively.
//!
//! ```text
//! local-mediator SOCKET WORKER CACHE_DIR QUOTA_BYTES [PLATFORM [API]]
//! ```
//!
//! Each line on standard input (and its end, and SIGTERM or SIGINT) prints the figures as JSON; the
//! latter two also end it.

use std::io::BufRead;
use std::sync::mpsc::channel;

use anyhow::{Context, bail};
use weir_devices::accel::{AccelConfig, LocalServer};

fn main() -> anyhow::Result<()> {
    env_logger::init();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [socket, worker, cache_dir, quota, rest @ ..] = args.as_slice() else {
        bail!("usage: local-mediator SOCKET WORKER CACHE_DIR QUOTA_BYTES [PLATFORM [API]]");
    };
    let api = rest.get(1).map_or("opencl", String::as_str);
    let mut config = AccelConfig::new("local", api, weir_apis::APIS, worker, cache_dir);
    config.memory_quota = quota.parse().context("QUOTA_BYTES is a number")?;
    config.platform = rest.first().cloned().unwrap_or_default();

    let signals = signals::block()?;
    let _ = std::fs::remove_file(socket);
    let server = LocalServer::new(config, socket)?;
    let handle = server.handle();
    let (asked, requests) = channel();
    let by_signal = asked.clone();
    std::thread::spawn(move || {
        signals.wait();
        let _ = by_signal.send(false);
    });
    std::thread::spawn(move || {
        for _line in std::io::stdin().lock().lines() {
            let _ = asked.send(true);
        }
    });
    for go_on in requests {
        println!("{}", serde_json::to_string(&handle.stats())?);
        if !go_on {
            break;
        }
    }
    Ok(())
}

mod signals {
    //! SIGTERM and SIGINT as something to wait for.

    use vmm_sys_util::signal::block_signal;

    pub struct Signals(libc::sigset_t);

    pub fn block() -> anyhow::Result<Signals> {
        for signal in [libc::SIGTERM, libc::SIGINT] {
            block_signal(signal).map_err(|error| anyhow::anyhow!("blocking signals: {error:?}"))?;
        }
        let mut set = std::mem::MaybeUninit::uninit();
        // SAFETY: `sigemptyset` initialises the set that the others then change.
        let set = unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            libc::sigaddset(set.as_mut_ptr(), libc::SIGTERM);
            libc::sigaddset(set.as_mut_ptr(), libc::SIGINT);
            set.assume_init()
        };
        Ok(Signals(set))
    }

    impl Signals {
        pub fn wait(&self) {
            let mut signal = 0;
            // SAFETY: both arguments live through the call.
            unsafe { libc::sigwait(&self.0, &mut signal) };
        }
    }
}
