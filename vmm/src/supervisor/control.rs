//! The control socket: answering `weir ps`, `weir stop` and `weir console`.

use std::io::{self, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use super::link::read_line;
use super::machines::Machine;
use super::protocol::{FromSupervisor, ToSupervisor};

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
    /// Answers requests on `listener` about `machines`.
    pub fn start(listener: UnixListener, machines: Arc<[Arc<Machine>]>) -> io::Result<Self> {
        let clients: Arc<Mutex<Clients>> = Arc::default();
        let (accepting, registry) = (listener.try_clone()?, clients.clone());
        let acceptor = thread::Builder::new()
            .name("control".into())
            .spawn(move || {
                for stream in accepting.incoming() {
                    let accepted = stream.and_then(|stream| serve(stream, &machines, &registry));
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
fn serve(
    stream: UnixStream,
    machines: &Arc<[Arc<Machine>]>,
    registry: &Mutex<Clients>,
) -> io::Result<bool> {
    let mut clients = registry.lock().unwrap_or_else(PoisonError::into_inner);
    if clients.closing {
        return Ok(false);
    }
    clients
        .connected
        .retain(|(_, thread)| !thread.is_finished());
    let (ours, machines) = (stream.try_clone()?, machines.clone());
    let thread = thread::Builder::new()
        .name("client".into())
        .spawn(move || {
            if let Err(error) = answer(&stream, &machines) {
                log::debug!("a control connection: {error}");
            }
            // The registry has a duplicate; the client shall see the end all the same.
            let _ = stream.shutdown(Shutdown::Both);
        })?;
    clients.connected.push((ours, thread));
    Ok(true)
}

fn answer(stream: &UnixStream, machines: &[Arc<Machine>]) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    while let Some(line) = read_line(&mut reader)? {
        let answer = match serde_json::from_str(&line) {
            Ok(ToSupervisor::Ps) => FromSupervisor::Machines {
                vms: machines.iter().map(|machine| machine.status()).collect(),
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
