//! The first serial port, which is the guest's console.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vm_superio::Trigger;
use vm_superio::serial::{Serial, SerialEvents};
use vmm_sys_util::eventfd::EventFd;

/// What Linux prints when it gives up.
const PANIC_MESSAGE: &[u8] = b"Kernel panic - not syncing";

/// The port's interrupt.
struct Interrupt(EventFd);

impl Trigger for Interrupt {
    type E = io::Error;

    fn trigger(&self) -> io::Result<()> {
        self.0.write(1)
    }
}

/// Signalled when the guest has read all input.
struct Drained(EventFd);

impl SerialEvents for Drained {
    fn buffer_read(&self) {}
    fn out_byte(&self) {}
    fn tx_lost_byte(&self) {}

    fn in_buffer_empty(&self) {
        // Only a counter at its limit refuses, and then it is readable already.
        let _ = self.0.write(1);
    }
}

/// The serial port with its output.
pub struct SerialPort {
    port: Mutex<Port>,
    panicked: Arc<AtomicBool>,
}

type Port = Serial<Interrupt, Drained, Watched>;

impl SerialPort {
    /// A port that writes to `output` and interrupts through `interrupt`. It signals `drained`
    /// when the guest has read all input.
    pub fn new(output: Box<dyn Write + Send>, interrupt: EventFd, drained: EventFd) -> Self {
        let panicked = Arc::new(AtomicBool::new(false));
        let watched = Watched {
            output,
            matched: 0,
            panicked: panicked.clone(),
        };
        Self {
            port: Mutex::new(Serial::with_events(
                Interrupt(interrupt),
                Drained(drained),
                watched,
            )),
            panicked,
        }
    }

    /// A guest read of the register at `offset`.
    pub fn read(&self, offset: u8) -> u8 {
        self.port().read(offset)
    }

    /// A guest write of the register at `offset`.
    pub fn write(&self, offset: u8, value: u8) {
        if let Err(error) = self.port().write(offset, value) {
            // The reader of the console is gone, or its disk full. The guest goes on.
            log::debug!("the guest's console output is lost: {error}");
        }
    }

    /// Bytes that [`enqueue`](Self::enqueue) would take now.
    pub fn room(&self) -> usize {
        self.port().fifo_capacity()
    }

    /// Input for the guest, at most [`room`](Self::room) bytes. A guest that has switched the port
    /// to loop-back loses it, as on a wire.
    pub fn enqueue(&self, input: &[u8]) {
        if let Err(error) = self.port().enqueue_raw_bytes(input) {
            log::debug!("console input is lost: {error}");
        }
    }

    /// Whether the kernel has printed that it panics. A panic is often reported this way only: the
    /// driver for the panic port is a module, which an early panic precedes.
    pub fn saw_panic(&self) -> bool {
        self.panicked.load(Ordering::Relaxed)
    }

    fn port(&self) -> MutexGuard<'_, Port> {
        self.port.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Output that looks for the kernel's panic message as it goes by.
struct Watched {
    output: Box<dyn Write + Send>,
    /// How much of the message the last bytes are.
    matched: usize,
    panicked: Arc<AtomicBool>,
}

impl Write for Watched {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for byte in bytes {
            // The message's first letter occurs in it only once, so a mismatch starts afresh.
            self.matched = match *byte {
                byte if byte == PANIC_MESSAGE[self.matched] => self.matched + 1,
                byte if byte == PANIC_MESSAGE[0] => 1,
                _ => 0,
            };
            if self.matched == PANIC_MESSAGE.len() {
                self.matched = 0;
                self.panicked.store(true, Ordering::Relaxed);
            }
        }
        self.output.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use vmm_sys_util::eventfd::EFD_NONBLOCK;

    use super::*;

    struct Channel(mpsc::Sender<u8>);

    impl Write for Channel {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            bytes.iter().for_each(|byte| self.0.send(*byte).unwrap());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn port() -> (SerialPort, mpsc::Receiver<u8>, EventFd) {
        let (sender, receiver) = mpsc::channel();
        let event = EventFd::new(EFD_NONBLOCK).unwrap();
        let drained = EventFd::new(EFD_NONBLOCK).unwrap();
        let interrupt = event.try_clone().unwrap();
        let port = SerialPort::new(Box::new(Channel(sender)), interrupt, drained);
        (port, receiver, event)
    }

    #[test]
    fn output_goes_out_and_input_interrupts() {
        let (port, output, event) = port();
        port.write(0, b'x');
        assert_eq!(output.recv().unwrap(), b'x');
        port.write(1, 1); // enable the interrupt for received data
        port.enqueue(b"ab");
        assert_eq!(event.read().unwrap(), 1);
        assert_eq!((port.read(0), port.read(0)), (b'a', b'b'));
    }

    #[test]
    fn a_panic_message_is_noticed() {
        let (port, _output, _event) = port();
        let say = |text: &str| text.bytes().for_each(|byte| port.write(0, byte));
        say("Kernel panic? Kernel panKernel panic - not sync");
        assert!(!port.saw_panic());
        say("[    1.2] KKernel panic - not syncing: VFS");
        assert!(port.saw_panic());
    }
}
