//! A stream of JSON lines over a Unix socket.

use std::io::{self, BufRead, Read, Write};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::net::UnixStream;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Longest line that is taken; longer ones end the connection.
const LINE_MAX: usize = 1 << 20;

/// Reads one line, without its end. `None` at the end of the stream, or where a line is too long to
/// come from an honest peer.
pub fn read_line(reader: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    reader.take(LINE_MAX as u64).read_until(b'\n', &mut line)?;
    Ok((line.pop() == Some(b'\n')).then(|| String::from_utf8_lossy(&line).into_owned()))
}

/// One end of a connection.
pub struct Link {
    stream: UnixStream,
    received: Vec<u8>,
    closed: bool,
}

impl Link {
    /// A link over `stream`, which is switched to non-blocking for reading what is there.
    pub fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            received: Vec::new(),
            closed: false,
        })
    }

    /// The link that a supervisor has put on standard input.
    pub fn from_stdin() -> io::Result<Self> {
        let fd = io::stdin().as_fd().try_clone_to_owned()?;
        Self::new(UnixStream::from(fd))
    }

    /// Sends `message`. A peer that does not read for long loses the connection.
    pub fn send(&mut self, message: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        let result = self.stream.write_all(&line);
        if result.is_err() {
            self.closed = true;
        }
        result
    }

    /// All whole messages that have arrived. One that makes no sense ends the connection.
    pub fn receive<T: DeserializeOwned>(&mut self) -> Vec<T> {
        self.fill();
        let mut messages = Vec::new();
        while let Some(end) = self.received.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.received.drain(..=end).collect();
            match serde_json::from_slice(&line) {
                Ok(message) => messages.push(message),
                Err(error) => {
                    log::warn!("a message that makes no sense: {error}");
                    self.closed = true;
                    break;
                }
            }
        }
        self.closed |= self.received.len() > LINE_MAX;
        messages
    }

    fn fill(&mut self) {
        let mut bytes = [0; 4096];
        while !self.closed && self.received.len() <= LINE_MAX {
            match self.stream.read(&mut bytes) {
                Ok(0) => self.closed = true,
                Ok(len) => self.received.extend_from_slice(&bytes[..len]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.closed = true,
            }
        }
    }

    /// Whether the peer is gone.
    pub fn closed(&self) -> bool {
        self.closed
    }
}

impl AsRawFd for Link {
    fn as_raw_fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervisor::protocol::ToVm;

    fn pair() -> (Link, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Link::new(ours).unwrap(), theirs)
    }

    #[test]
    fn messages_arrive_whole_and_in_order() {
        let (mut link, mut peer) = pair();
        assert_eq!(link.receive::<ToVm>(), []);
        peer.write_all(b"{\"request\":\"status\"}\n{\"request\":\"stop\",")
            .unwrap();
        assert_eq!(link.receive::<ToVm>(), [ToVm::Status]);
        peer.write_all(b"\"now\":true}\n").unwrap();
        let stop = ToVm::Stop {
            now: true,
            grace_ms: None,
        };
        assert_eq!(link.receive::<ToVm>(), [stop]);
        assert!(!link.closed());
        drop(peer);
        assert_eq!(link.receive::<ToVm>(), []);
        assert!(link.closed());
    }

    #[test]
    fn lines_are_read_up_to_a_limit() {
        let long = vec![b'x'; LINE_MAX + 1];
        let mut reader = io::Cursor::new([b"one\ntwo\n", &long[..], b"\n"].concat());
        assert_eq!(read_line(&mut reader).unwrap().as_deref(), Some("one"));
        assert_eq!(read_line(&mut reader).unwrap().as_deref(), Some("two"));
        assert_eq!(read_line(&mut reader).unwrap(), None);
        assert_eq!(read_line(&mut io::empty()).unwrap(), None);
    }

    #[test]
    fn nonsense_ends_the_connection() {
        let (mut link, mut peer) = pair();
        peer.write_all(b"hello\n").unwrap();
        assert_eq!(link.receive::<ToVm>(), []);
        assert!(link.closed());
    }

    #[test]
    fn a_line_without_end_ends_the_connection() {
        let (mut link, mut peer) = pair();
        let writer = std::thread::spawn(move || peer.write_all(&vec![b'x'; LINE_MAX + 2]));
        while !link.closed() {
            assert_eq!(link.receive::<ToVm>(), []);
        }
        drop(link);
        let _ = writer.join();
    }
}
