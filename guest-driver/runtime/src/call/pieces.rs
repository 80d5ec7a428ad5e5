//! Transfers that go in pieces, because the arena could not hold the whole.

use crate::Code;
use crate::connection::Connection;

/// One piece of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where it begins in the whole.
    pub at: u64,
    /// Bytes.
    pub len: u64,
    /// Whether it goes first.
    pub is_first: bool,
    /// Whether it goes last.
    pub is_last: bool,
}

impl Piece {
    /// Whether it is all there is.
    pub fn is_whole(&self) -> bool {
        self.is_first && self.is_last
    }
}

/// Makes a transfer of `total` bytes in as many calls as it takes, from the end to the beginning.
pub fn in_pieces(
    weir: &Connection,
    total: u64,
    mut transfer: impl FnMut(Piece) -> Result<(), Code>,
) -> Result<(), Code> {
    let largest = (weir.arena().size() / 4).next_multiple_of(4096);
    pieces(total, largest).try_for_each(&mut transfer)
}

fn pieces(total: u64, largest: u64) -> impl Iterator<Item = Piece> {
    let count = total.div_ceil(largest).max(1);
    (0..count).rev().map(move |number| {
        let at = number * largest;
        Piece {
            at,
            len: (total - at).min(largest),
            is_first: number + 1 == count,
            is_last: number == 0,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(total: u64, largest: u64) -> Vec<(u64, u64, bool, bool)> {
        pieces(total, largest)
            .map(|p| (p.at, p.len, p.is_first, p.is_last))
            .collect()
    }

    #[test]
    fn pieces_make_up_the_whole() {
        assert_eq!(all(10, 10), [(0, 10, true, true)]);
        assert_eq!(all(0, 10), [(0, 0, true, true)]);
        let three = [
            (8, 1, true, false),
            (4, 4, false, false),
            (0, 4, false, true),
        ];
        assert_eq!(all(9, 4), three);
    }
}
