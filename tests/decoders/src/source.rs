//! Where random choices come from: bytes, so that a failure is a file and a fuzzer can steer.

/// Choices, taken from bytes; when they are used up, all are 0.
#[derive(Debug)]
pub struct Source<'a> {
    bytes: &'a [u8],
}

impl<'a> Source<'a> {
    /// Choices from `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Source { bytes }
    }

    /// Any byte.
    pub fn byte(&mut self) -> u8 {
        let (first, rest) = self.bytes.split_first().unwrap_or((&0, &[]));
        self.bytes = rest;
        *first
    }

    /// Any number.
    pub fn word(&mut self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        match end {
            ..=256 => u64::from(self.byte()) % end,
            _ => self.word() % end,
        }
    }

    /// One in `n`.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// A number that is likely to be of interest: small, or anything.
    pub fn number(&mut self) -> u64 {
        match self.below(8) {
            0..=3 => self.below(5),
            4 | 5 => self.below(70),
            6 => self.below(6000),
            _ => self.word(),
        }
    }

    /// Whatever is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.bytes)
    }
}
