//! A port through which the guest's kernel says that it has panicked.

use crate::end::{End, Ending};

/// Bit: the kernel panicked. The other event, a crash kernel taking over, needs no answer.
const PANICKED: u8 = 1;

/// What reading the port says: the events that are understood.
pub const CAPABILITIES: u8 = PANICKED;

/// The guest wrote `value`.
pub fn write(end: &End, value: u8) {
    if value & PANICKED != 0 {
        end.set(Ending::Panicked);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_ends_the_machine_and_a_crash_kernel_does_not() {
        let end = End::new().unwrap();
        write(&end, 2);
        assert_eq!(end.get(), None);
        write(&end, 1);
        assert_eq!(end.get(), Some(Ending::Panicked));
    }
}
