//! The control socket: answering `weir ps`, `weir set`, `weir stop` and `weir console`.

use std::io::{self, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use super::grants::{Changed, Grants};
use super::link::read_line;
use super::machines::Machine;

use super::protocol::{FromSupervisor, ToSupervisor};

/// What there is to ask about and to change.
pub struct Fleet {
    /// The machines, in the order of the configuration.
    pub machines: Box<[Arc<Machine>]>,
    /// What each may use.
    pub grants: Grants,
}

impl Fleet {
    /// Changes a grant. Returns what that came to and what the user should know about it.
    fn set(
        &self,
        tenant: &str,
        accelerator: Option<&str>,
        changes: &[(String, String)],
    ) -> Result<(Changed, Vec<String>), String> {
        let mut notes = Vec::new();
        let changed = self.grants.change(tenant, accelerator, changes, |grant| {
            let machine = self
                .machines
                .iter()
                .find(|machine| machine.name() == tenant);
            let machine = machine.ok_or_else(|| format!("`{tenant}` does not run"))?;
            notes.extend(machine.set(grant)?);
            for key in ["clients", "arena"] {
                if changes.iter().any(|(name, _)| name == key) {
                    notes.push(format!("`{key}` takes effect when `{tenant}` starts anew"));
                }
            }
            Ok(())
        })?;
        for (key, before, now) in &changed.values {
            log::info!("{tenant}.{}: {key} {before} -> {now}", changed.accelerator);
        }
        Ok((changed, notes))
    }
}

/// Answers requests until it is dropped.
pub struct Control {
    listener: UnixListener,
    clients: Arc<Mutex<Clients>>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Clients {
    /// Ended ones are swept out as new ones come.
    connected: Vec<(UnixStream, JoinHandle<()>)>,
    closing: bool,
}

impl Control {
    /// Answers requests on `listener` about `fleet`.
    pub fn start(listener: UnixListener, fleet: Arc<Fleet>) -> io::Result<Self> {
        let clients: Arc<Mutex<Clients>> = Arc::default();
        let (accepting, registry) = (listener.try_clone()?, clients.clone());
        let acceptor = thread::Builder::new()
            .name("control".into())
            .spawn(move || {
                for stream in accepting.incoming() {
                    let accepted = stream.and_then(|stream| serve(stream, &fleet, &registry));
                    match accepted {
                        Ok(true) => {}
                        Ok(false) => break,
                        Err(error) => log::debug!("a control connection: {error}"),
                    }
                    if registry
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .closing
                    {
                        break;
                    }
                }
            })?;
        Ok(Self {
            listener,
            clients,
            acceptor: Some(acceptor),
        })
    }
}

impl Drop for Control {
    /// Ends all connections and joins all threads.
    fn drop(&mut self) {
        let connected = {
            let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
            clients.closing = true;
            std::mem::take(&mut clients.connected)
        };
        // Wakes the thread that accepts.
        let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
        for (stream, thread) in connected {
            let _ = stream.shutdown(Shutdown::Both);
            let _ = thread.join();
        }
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

/// Answers `stream` on a thread of its own. False once the control socket closes.
fn serve(stream: UnixStream, fleet: &Arc<Fleet>, registry: &Mutex<Clients>) -> io::Result<bool> {
    let mut clients = registry.lock().unwrap_or_else(PoisonError::into_inner);
    if clients.closing {
        return Ok(false);
    }
    clients
        .connected
        .retain(|(_, thread)| !thread.is_finished());
    let (ours, fleet) = (stream.try_clone()?, fleet.clone());
    let thread = thread::Builder::new()
        .name("client".into())
        .spawn(move || {
            if let Err(error) = answer(&stream, &fleet) {
                log::debug!("a control connection: {error}");
            }
            // The registry has a duplicate; the client shall see the end all the same.
            let _ = stream.shutdown(Shutdown::Both);
        })?;
    clients.connected.push((ours, thread));
    Ok(true)
}

fn answer(stream: &UnixStream, fleet: &Fleet) -> io::Result<()> {
    let machines = &*fleet.machines;
    let mut reader = BufReader::new(stream.try_clone()?);
    while let Some(line) = read_line(&mut reader)? {
        let answer = match serde_json::from_str(&line) {
            Ok(ToSupervisor::Ps) => FromSupervisor::Machines {
                vms: Machine::statuses(machines),
            },
            Ok(ToSupervisor::Set {
                tenant,
                accelerator,
                changes,
            }) => match fleet.set(&tenant, accelerator.as_deref(), &changes) {
                Ok((
                    Changed {
                        accelerator,
                        values,
                    },
                    notes,
                )) => FromSupervisor::Changed {
                    accelerator,
                    values,
                    notes,
                },
                Err(message) => FromSupervisor::Refused { message },
            },
            Ok(ToSupervisor::Stop {
                name,
                now,
                grace_ms,
            }) => with(machines, &name, |machine| machine.stop(now, grace_ms)),
            Ok(ToSupervisor::Console { name, replay }) => {
                return console(stream, reader, machines, &name, replay);
            }
            Err(error) => FromSupervisor::Refused {
                message: format!("a request that makes no sense: {error}"),
            },
        };
        send(stream, &answer)?;
    }
    Ok(())
}

/// Passes a console on until the viewer leaves or the machine ends.
fn console(
    stream: &UnixStream,
    mut reader: BufReader<UnixStream>,
    machines: &[Arc<Machine>],
    name: &str,
    replay: bool,
) -> io::Result<()> {
    let Some(machine) = machines.iter().find(|machine| machine.name() == name) else {
        return send(stream, &with(machines, name, |_| ()));
    };
    send(stream, &FromSupervisor::Done)?;
    machine.attach(stream.try_clone()?, replay)?;
    let mut bytes = [0; 4096];
    loop {
        let len = reader.read(&mut bytes)?;
        // The end of input is not the end of watching; the viewer leaves by closing both ways.
        if len == 0 {
            return Ok(());
        }
        machine.type_in(&bytes[..len])?;
    }
}

/// Does `what` to the machine called `name`, if there is one.
fn with(machines: &[Arc<Machine>], name: &str, what: impl FnOnce(&Machine)) -> FromSupervisor {
    match machines.iter().find(|machine| machine.name() == name) {
        Some(machine) => {
            what(machine);
            FromSupervisor::Done
        }
        None => {
            let names: Vec<&str> = machines.iter().map(|machine| machine.name()).collect();
            let message = format!(
                "no machine is called `{name}`; there are {}",
                crate::config::reader::list(&names)
            );
            FromSupervisor::Refused { message }
        }
    }
}

fn send(mut stream: &UnixStream, answer: &FromSupervisor) -> io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    stream.write_all(&line)
}
