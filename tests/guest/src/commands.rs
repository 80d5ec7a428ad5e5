//! Commands that are almost right.

use fastrand::Rng;
use weir_wire::arena::DATA_OFFSET;
use weir_wire::command::{Encoder, Header, Place, Reference};
use weir_wire::function::{Api, Passing};
use weir_wire::handle::Handle;

/// Appends one command that breaks a rule or two, or none.
pub fn append(out: &mut Vec<u8>, api: &Api, arena_size: u64, rng: &mut Rng) {
    let index = rng.usize(..api.functions.len());
    let function = &api.functions[index];
    let start = out.len();
    let header = Header {
        size: 0,
        api: if rng.u8(..) < 4 { rng.u16(..) } else { api.id },
        function: if rng.u8(..) < 4 {
            rng.u16(..)
        } else {
            index as u16
        },
        lane: if rng.u8(..) < 8 {
            rng.u32(..)
        } else {
            rng.u32(..4)
        },
        seq: rng.u32(..3),
    };
    let mut encoder = Encoder::new(out, header, function.words);
    for param in function.params {
        let words = match param.passing {
            Passing::Scalar | Passing::Handle(_) | Passing::New { .. } => 1,
            Passing::HandleOrBytes => 3,
            Passing::NewArray { .. } => 4,
            Passing::In { .. } | Passing::Out { .. } => 2,
        };
        match (&param.passing, words) {
            _ if rng.u8(..) < 40 => {
                (0..words).for_each(|i| encoder.word(param.word + i, word(arena_size, rng)));
            }
            (Passing::In { .. }, _) if rng.bool() => {
                let bytes: Vec<u8> = (0..rng.usize(..64)).map(|_| rng.u8(..4)).collect();
                encoder.inline(param.word, &bytes);
            }
            (Passing::In { .. } | Passing::Out { .. }, _) => {
                encoder.reference(param.word, reference(arena_size, rng));
            }
            (Passing::Handle(_) | Passing::New { .. }, _) => {
                encoder.word(param.word, handle(rng));
            }
            (Passing::Scalar, _) => encoder.word(param.word, rng.u64(..16)),
            _ => (0..words).for_each(|i| encoder.word(param.word + i, word(arena_size, rng))),
        }
    }
    if encoder.finish().is_none() {
        return;
    }
    if rng.u8(..) < 24 {
        let size = match rng.u8(..4) {
            0 => 0,
            1 => rng.u32(..),
            2 => (out.len() - start) as u32 + 8 * rng.u32(1..9),
            _ => (out.len() - start) as u32 - rng.u32(1..9),
        };
        out[start..start + 4].copy_from_slice(&size.to_le_bytes());
    }
}

fn handle(rng: &mut Rng) -> u64 {
    Handle::new(rng.u32(..32), rng.u32(..3)).0
}

fn reference(arena_size: u64, rng: &mut Rng) -> Reference {
    let at = match rng.u8(..4) {
        0 => rng.u64(..arena_size),
        1 => arena_size - rng.u64(..64),
        2 => DATA_OFFSET - rng.u64(..64),
        _ => DATA_OFFSET + rng.u64(..4096),
    };
    Reference {
        place: Place::Arena(at),
        len: rng.u64(..256),
    }
}

fn word(arena_size: u64, rng: &mut Rng) -> u64 {
    match rng.u8(..7) {
        0 => 0,
        1 => rng.u64(..),
        2 => u64::MAX - rng.u64(..4),
        3 => 1 << rng.u32(..64),
        4 => handle(rng),
        5 => 1 << 62 | rng.u64(..512),
        _ => 2 << 62 | rng.u64(..arena_size + 4096),
    }
}
