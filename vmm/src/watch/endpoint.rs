//! Figures over HTTP, for Prometheus.
//!
//! It answers one kind of request and is bounded in all that others decide: how many connections
//! there are, how long each may take, how much it may say, and how often the tenants are asked.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::exposition::{CONTENT_TYPE, exposition};
use super::sample::Sample;

/// Connections at once; more are closed.
const CONNECTIONS: usize = 8;
/// How long a connection may take in all.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest request.
const REQUEST_MAX: usize = 8192;
/// For how long an answer is good enough for the next who asks.
const FRESH: Duration = Duration::from_millis(100);

/// Answers requests until it is dropped.
pub struct Endpoint {
    listener: TcpListener,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    figures: Box<dyn Fn() -> Sample + Send + Sync>,
    last: Mutex<Option<(Instant, Arc<str>)>>,
    connections: AtomicUsize,
    closing: AtomicBool,
}

impl Endpoint {
    /// Answers on `listener` with what `figures` gives.
    pub fn start(
        listener: TcpListener,
        figures: impl Fn() -> Sample + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            figures: Box::new(figures),
            last: Mutex::new(None),
            connections: AtomicUsize::new(0),
            closing: AtomicBool::new(false),
        });
        let (accepting, serving) = (listener.try_clone()?, shared.clone());
        let acceptor = thread::Builder::new()
            .name("metrics".into())
            .spawn(move || accept(&accepting, &serving))?;
        Ok(Self {
            listener,
            shared,
            acceptor: Some(acceptor),
        })
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.shared.closing.store(true, SeqCst);
        // Wakes the thread that accepts. Those that answer end by themselves.
        let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.closing.load(SeqCst) {
            return;
        }
        let stream = match stream {
            Ok(stream) => stream,
            Err(error) => {
                // Such as too many open files: others may close some.
                log::debug!("a connection for metrics: {error}");
                thread::sleep(Duration::from_millis(50));
                continue;
            }
        };
        if shared.connections.fetch_add(1, SeqCst) >= CONNECTIONS {
            shared.connections.fetch_sub(1, SeqCst);
            continue;
        }
        let theirs = shared.clone();
        let spawned = thread::Builder::new()
            .name("metrics".into())
            .spawn(move || {
                if let Err(error) = answer(stream, &theirs) {
                    log::debug!("a connection for metrics: {error}");
                }
                theirs.connections.fetch_sub(1, SeqCst);
            });
        if let Err(error) = spawned {
            log::warn!("answering a request for metrics: {error}");
            shared.connections.fetch_sub(1, SeqCst);
        }
    }
}

fn answer(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let until = Instant::now() + PATIENCE;
    let request = read_request(&mut stream, until)?;
    let (status, body): (&str, Arc<str>) = match request.as_deref().map(path) {
        None => ("431 Request Header Fields Too Large", "too long\n".into()),
        Some(Err(status)) => (status, "ask with: GET /metrics\n".into()),
        Some(Ok("/metrics" | "/")) => ("200 OK", shared.text()),
        Some(Ok(_)) => ("404 Not Found", "the figures are at /metrics\n".into()),
    };
    let kind = if status == "200 OK" {
        CONTENT_TYPE
    } else {
        "text/plain"
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let head_only = request.is_some_and(|request| request.starts_with("HEAD "));
    write_within(&mut stream, head.as_bytes(), until)?;
    match head_only {
        true => Ok(()),
        false => write_within(&mut stream, body.as_bytes(), until),
    }
}

/// The path that `request` asks for, without what stands behind `?`; or what is wrong.
fn path(request: &str) -> Result<&str, &'static str> {
    let mut words = request.lines().next().unwrap_or("").split(' ');
    match (words.next(), words.next(), words.next()) {
        (Some("GET" | "HEAD"), Some(target), Some(version)) if version.starts_with("HTTP/1.") => {
            Ok(target.split('?').next().unwrap_or(target))
        }
        (Some(_), Some(_), Some(version)) if version.starts_with("HTTP/1.") => {
            Err("405 Method Not Allowed")
        }
        _ => Err("400 Bad Request"),
    }
}

/// All up to the empty line; `None` if that is too long.
fn read_request(stream: &mut TcpStream, until: Instant) -> io::Result<Option<String>> {
    let mut request = Vec::new();
    let mut bytes = [0; 1024];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        if request.len() > REQUEST_MAX {
            return Ok(None);
        }
        stream.set_read_timeout(Some(left(until)?))?;
        match stream.read(&mut bytes)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            len => request.extend_from_slice(&bytes[..len]),
        }
    }
    Ok(Some(String::from_utf8_lossy(&request).into_owned()))
}

fn write_within(stream: &mut TcpStream, mut bytes: &[u8], until: Instant) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.set_write_timeout(Some(left(until)?))?;
        match stream.write(bytes)? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            len => bytes = &bytes[len..],
        }
    }
    Ok(())
}

fn left(until: Instant) -> io::Result<Duration> {
    match until.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
        left => Ok(left),
    }
}

impl Shared {
    /// The figures of now, or of a moment ago.
    fn text(&self) -> Arc<str> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((when, text)) if when.elapsed() < FRESH => text.clone(),
            _ => {
                let text: Arc<str> = exposition(&(self.figures)()).into();
                *last = Some((Instant::now(), text.clone()));
                text
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::tests::used;
    use super::*;

    fn endpoint() -> Endpoint {
        let figures = || Sample {
            time_ms: 0,
            tenants: vec![used("alice", 3, 0, 0)],
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Endpoint::start(listener, figures).unwrap()
    }

    fn ask(endpoint: &Endpoint, request: &str) -> String {
        let mut stream = TcpStream::connect(endpoint.listener.local_addr().unwrap()).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn figures_are_answered_and_nothing_else() {
        let endpoint = endpoint();
        let answer = ask(&endpoint, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(head.contains(&format!("Content-Length: {}", body.len())));
        assert!(body.contains("weir_share{tenant=\"alice\",accelerator=\"gpu0\"} 3\n"));
        for (request, status) in [
            ("GET /other HTTP/1.1\r\n\r\n", "404"),
            ("POST /metrics HTTP/1.1\r\n\r\n", "405"),
            ("hello\r\n\r\n", "400"),
        ] {
            let answer = ask(&endpoint, request);
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status} ")),
                "{answer}"
            );
        }
        let head = ask(&endpoint, "HEAD /metrics HTTP/1.0\r\n\r\n");
        assert!(head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"));
    }

    #[test]
    fn neither_many_nor_slow_clients_hold_it_up_for_good() {
        let endpoint = endpoint();
        let address = endpoint.listener.local_addr().unwrap();
        let silent: Vec<_> = (0..3 * CONNECTIONS)
            .map(|_| TcpStream::connect(address).unwrap())
            .collect();
        // More than there is room for: the rest are closed, and nothing piles up.
        let mut closed = 0;
        for mut stream in &silent {
            stream
                .set_read_timeout(Some(Duration::from_millis(50)))
                .unwrap();
            closed += usize::from(matches!(stream.read(&mut [0]), Ok(0)));
        }
        assert_eq!(closed, 2 * CONNECTIONS);
        drop(silent);
        let answered = || ask(&endpoint, "GET /metrics HTTP/1.1\r\n\r\n").contains("200 OK");
        let deadline = Instant::now() + PATIENCE;
        while endpoint.shared.connections.load(SeqCst) > 0 && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
        assert!(answered());
    }

    #[test]
    fn a_request_without_end_is_refused() {
        let endpoint = endpoint();
        let mut stream = TcpStream::connect(endpoint.listener.local_addr().unwrap()).unwrap();
        // It may be closed before all is taken.
        let _ = stream.write_all(&[b'x'; REQUEST_MAX + 1024]);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 431"));
    }
}
