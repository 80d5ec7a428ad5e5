//! Sleep, reset and event registers, as the ACPI tables describe them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use vmm_sys_util::eventfd::EventFd;

use crate::acpi::{EVENT_POWER_BUTTON, RESET_VALUE, SLEEP_TYPE_OFF};
use crate::end::{End, Ending};
use crate::layout;

/// Sleep control register: the sleep type, and the bit that makes it happen.
const SLEEP_TYPE_SHIFT: u8 = 2;
const SLEEP_TYPE_MASK: u8 = 0x7;
const SLEEP_ENABLE: u8 = 1 << 5;
/// Command to the keyboard controller that resets a PC.
const KEYBOARD_RESET: u8 = 0xfe;

/// The registers, with the power button.
pub struct Power {
    end: Arc<End>,
    /// What the guest has not yet been told.
    events: AtomicU8,
    interrupt: EventFd,
}

impl Power {
    /// `interrupt` raises the Generic Event Device's interrupt.
    pub fn new(end: Arc<End>, interrupt: EventFd) -> Self {
        Self {
            end,
            events: AtomicU8::new(0),
            interrupt,
        }
    }

    /// Presses the power button.
    pub fn press_button(&self) {
        self.events.fetch_or(EVENT_POWER_BUTTON, Ordering::SeqCst);
        if let Err(error) = self.interrupt.write(1) {
            log::error!("pressing the power button: {error}");
        }
    }

    /// Reads a register; `None` if `port` is none of these.
    pub fn read(&self, port: u16) -> Option<u8> {
        match port {
            layout::EVENTS => Some(self.events.swap(0, Ordering::SeqCst)),
            layout::SLEEP_CONTROL | layout::SLEEP_STATUS | layout::RESET => Some(0),
            // The keyboard controller's buffers are empty: a kernel that resets through it waits
            // for that.
            layout::KEYBOARD_COMMAND => Some(0),
            _ => None,
        }
    }

    /// Writes a register; other ports do nothing.
    pub fn write(&self, port: u16, value: u8) {
        match port {
            layout::SLEEP_CONTROL if value & SLEEP_ENABLE != 0 => {
                let sleep_type = (value >> SLEEP_TYPE_SHIFT) & SLEEP_TYPE_MASK;
                if sleep_type == SLEEP_TYPE_OFF {
                    self.end.set(Ending::PoweredOff);
                }
            }
            layout::RESET if value == RESET_VALUE => self.end.set(Ending::Reset),
            layout::KEYBOARD_COMMAND if value == KEYBOARD_RESET => self.end.set(Ending::Reset),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use vmm_sys_util::eventfd::EFD_NONBLOCK;

    use super::*;

    fn power() -> Power {
        let event = EventFd::new(EFD_NONBLOCK).unwrap();
        Power::new(Arc::new(End::new().unwrap()), event)
    }

    #[test]
    fn only_soft_off_powers_off() {
        let power = power();
        power.write(layout::SLEEP_CONTROL, SLEEP_TYPE_OFF << SLEEP_TYPE_SHIFT);
        power.write(
            layout::SLEEP_CONTROL,
            (3 << SLEEP_TYPE_SHIFT) | SLEEP_ENABLE,
        );
        assert_eq!(power.end.get(), None);
        power.write(
            layout::SLEEP_CONTROL,
            (5 << SLEEP_TYPE_SHIFT) | SLEEP_ENABLE,
        );
        assert_eq!(power.end.get(), Some(Ending::PoweredOff));
    }

    #[test]
    fn both_ways_to_reset_work() {
        for (port, value) in [
            (layout::RESET, RESET_VALUE),
            (layout::KEYBOARD_COMMAND, 0xfe),
        ] {
            let power = power();
            power.write(port, value - 1);
            assert_eq!(power.end.get(), None);
            power.write(port, value);
            assert_eq!(power.end.get(), Some(Ending::Reset));
        }
    }

    #[test]
    fn the_button_interrupts_and_is_told_once() {
        let power = power();
        power.press_button();
        assert_eq!(power.interrupt.read().unwrap(), 1);
        assert_eq!(power.read(layout::EVENTS), Some(EVENT_POWER_BUTTON));
        assert_eq!(power.read(layout::EVENTS), Some(0));
    }
}
