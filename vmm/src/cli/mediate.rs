//! `weir mediate`: the process of a local tenant below `weir up`.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use rustix::event::{PollFd, PollFlags, poll};
use weir_devices::accel::{AccelHandle, AccelStats};

use super::Failure;
use crate::arbiter;
use crate::config::Config;
use crate::devices;
use crate::end::End;
use crate::local::server::{Privileges, Server};
use crate::sandbox::{self, Level};
use crate::signals::EndSignals;
use crate::supervisor::link::Link;
use crate::supervisor::protocol::{FromVm, ToVm};

/// Arguments of `weir mediate`. Standard input is the link to the supervisor.
#[derive(Debug, Args)]
pub struct MediateArgs {
    /// The configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Which tenant of it
    #[arg(long, value_name = "NAME")]
    tenant: String,
    /// Where an accelerator's arbiter is
    #[arg(long, value_name = "END")]
    arbiter: Vec<String>,
    /// How far its process is shut in
    #[arg(long, value_enum, default_value_t)]
    sandbox: Level,
    /// Where its sockets go
    #[arg(long, value_name = "FOLDER")]
    folder: PathBuf,
}

/// Serves a tenant until the supervisor or a signal says that it is enough.
pub(super) fn mediate(args: MediateArgs) -> Result<u8, Failure> {
    arbiter::adopt(&args.arbiter).map_err(Failure::usage_text)?;
    let mut link = Link::from_stdin().map_err(|error| Failure::other(&error))?;
    let config = Config::load(&args.config).map_err(|error| Failure::usage(&error))?;
    let tenant = config.tenant(&args.tenant);
    let tenant = tenant.map_err(|error| Failure::usage(&error))?;
    let signals = EndSignals::collect().map_err(|error| Failure::other(&error))?;
    let server = Server::start(tenant, &args.folder, Privileges::GiveUp)
        .map_err(|error| Failure::other(&error))?;
    let handles: Vec<AccelHandle> = server.handles().collect();
    let end = Arc::new(End::new().map_err(|error| Failure::other(&error))?);
    sandbox::enter_mediator(&end, args.sandbox).map_err(|error| Failure::other(&error))?;
    tell(&mut link, &FromVm::Running);
    while !link.closed() && !signals.take() && sandbox::violation().is_none() {
        // SAFETY: the descriptor is open as long as the link, which outlives this borrow.
        let from_link = unsafe { BorrowedFd::borrow_raw(link.as_raw_fd()) };
        // SAFETY: likewise, of the event.
        let from_sandbox = unsafe { BorrowedFd::borrow_raw(end.event().as_raw_fd()) };
        let mut sources = [
            PollFd::from_borrowed_fd(from_link, PollFlags::IN),
            PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(from_sandbox, PollFlags::IN),
        ];
        // An interrupted or failed wait only means one look more.
        let _ = poll(&mut sources, None);
        let mut stop = false;
        for request in link.receive::<ToVm>() {
            match request {
                ToVm::Status => {
                    let accelerators = stats(&handles);
                    tell(&mut link, &FromVm::Status { accelerators });
                }
                ToVm::Set { grant } => {
                    let named = handles.iter().filter(|handle| handle.name() == grant.name);
                    named.for_each(|handle| devices::change(handle, &grant));
                    tell(&mut link, &FromVm::Set);
                }
                ToVm::Stop { .. } => stop = true,
                // There is no console.
                ToVm::Input { .. } => {}
            }
        }
        if stop {
            break;
        }
    }
    drop(server);
    let accelerators = stats(&handles);
    let violation = sandbox::violation();
    let message = match &violation {
        Some(ending) => ending.sentence(),
        None => "its programs were ended".into(),
    };
    let ended = FromVm::Ended {
        message,
        accelerators,
    };
    tell(&mut link, &ended);
    Ok(violation.map_or(0, |ending| ending.status()))
}

fn stats(handles: &[AccelHandle]) -> Vec<AccelStats> {
    handles.iter().map(AccelHandle::stats).collect()
}

fn tell(link: &mut Link, message: &FromVm) {
    if let Err(error) = link.send(message) {
        log::debug!("telling the supervisor: {error}");
    }
}
