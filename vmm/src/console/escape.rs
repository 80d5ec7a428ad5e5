//! The key sequence that ends a machine from its console.

/// Ctrl-A, which starts the sequence.
const CTRL_A: u8 = 1;

/// What the user meant with the keys so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// Nothing yet.
    None,
    /// One byte for the guest.
    One(u8),
    /// Ctrl-A and a byte, both for the guest: they were no sequence of ours.
    Both(u8),
    /// End the machine.
    End,
}

impl Keys {
    /// The bytes for the guest.
    pub fn bytes(self) -> impl Iterator<Item = u8> {
        let (first, second) = match self {
            Self::None | Self::End => (None, None),
            Self::One(byte) => (Some(byte), None),
            Self::Both(byte) => (Some(CTRL_A), Some(byte)),
        };
        first.into_iter().chain(second)
    }
}

/// Ctrl-A x ends the machine; Ctrl-A Ctrl-A is one Ctrl-A for the guest; everything else goes to
/// the guest as it is.
#[derive(Debug, Default)]
pub struct Escape {
    started: bool,
}

impl Escape {
    /// The user typed `byte`.
    pub fn feed(&mut self, byte: u8) -> Keys {
        let started = std::mem::replace(&mut self.started, false);
        match (started, byte) {
            (false, CTRL_A) => {
                self.started = true;
                Keys::None
            }
            (false, byte) => Keys::One(byte),
            (true, b'x' | b'X') => Keys::End,
            (true, CTRL_A) => Keys::One(CTRL_A),
            (true, byte) => Keys::Both(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn type_in(keys: &[u8]) -> (Vec<u8>, bool) {
        let mut escape = Escape::default();
        let mut guest = Vec::new();
        for key in keys {
            match escape.feed(*key) {
                Keys::End => return (guest, true),
                keys => guest.extend(keys.bytes()),
            }
        }
        (guest, false)
    }

    #[test]
    fn sequences_mean_what_the_help_says() {
        assert_eq!(type_in(b"ls\r"), (b"ls\r".to_vec(), false));
        assert_eq!(type_in(b"a\x01xb"), (b"a".to_vec(), true));
        assert_eq!(type_in(b"\x01\x01x"), (b"\x01x".to_vec(), false));
        assert_eq!(type_in(b"\x01b"), (b"\x01b".to_vec(), false));
        assert_eq!(type_in(b"\x01"), (vec![], false));
    }
}
