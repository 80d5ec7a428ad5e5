//! Private memory for the inputs of one call, used again for the next.

/// Bytes that are kept from call to call.
const KEPT: usize = 64 << 10;
/// Alignment of what is handed out, and what sizes are rounded up to.
const UNIT: usize = 16;

/// Memory that is handed out piece by piece and taken back all at once.
#[derive(Debug)]
pub struct Scratch {
    kept: Vec<u128>,
    used: usize,
    large: Vec<Vec<u128>>,
}

impl Default for Scratch {
    fn default() -> Self {
        Scratch {
            kept: vec![0; KEPT / UNIT],
            used: 0,
            large: Vec::new(),
        }
    }
}

impl Scratch {
    /// `len` bytes of unknown content, aligned to 16. They stay where they are until
    /// [`clear`](Self::clear).
    pub fn take(&mut self, len: usize) -> *mut u8 {
        let units = len.div_ceil(UNIT);
        if units > self.kept.len() - self.used {
            let mut piece = vec![0u128; units];
            let pointer = piece.as_mut_ptr().cast();
            self.large.push(piece);
            return pointer;
        }
        // SAFETY: `used` is at most the vector's length.
        let pointer = unsafe { self.kept.as_mut_ptr().add(self.used) };
        self.used += units;
        pointer.cast()
    }

    /// Takes everything back.
    pub fn clear(&mut self) {
        self.used = 0;
        self.large.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_do_not_overlap() {
        let mut scratch = Scratch::default();
        let mut last = 0;
        for len in [1, 16, 17, 40_000, 20_000, 100_000, 0, 5] {
            let piece = scratch.take(len);
            assert_eq!(piece as usize % UNIT, 0);
            // SAFETY: `take` gave that many bytes.
            unsafe { piece.write_bytes(len as u8, len) };
            assert!(piece as usize != last);
            if len > 0 {
                last = piece as usize;
            }
        }
        scratch.clear();
        assert!(scratch.large.is_empty());
    }
}
