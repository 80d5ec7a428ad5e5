//! One call: a header, a fixed row of words (what each is, the function's table says), and inline
//! bytes that words refer to.
//!
//! ```text
//! 0   u32 size       bytes of the whole command, a multiple of 8
//! 4   u16 api        number of the API
//! 6   u16 function   number of the function in its API
//! 8   u32 lane       reply slot, below MAX_LANES
//! 12  u32 seq        the lane's number for this call; 0: nobody waits for an answer
//! 16  u64 words[n]   n is fixed for each function
//! ..  inline bytes
//! ```
//!
//! Commands lie back to back in a batch.

/// Bytes of a command's header.
pub const HEADER_SIZE: usize = 16;
/// Most bytes of one command. Longer inputs travel in the arena's data.
pub const MAX_COMMAND: usize = 64 << 10;
/// Inputs up to this many bytes travel inside of the command.
pub const MAX_INLINE: usize = 4 << 10;

/// The fixed part of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Bytes of the whole command.
    pub size: u32,
    /// Number of the API.
    pub api: u16,
    /// Number of the function.
    pub function: u16,
    /// Reply slot.
    pub lane: u32,
    /// The lane's number for this call; 0 if nobody waits for an answer.
    pub seq: u32,
}

impl Header {
    /// Reads a header from the front of `bytes`.
    pub fn read(bytes: &[u8]) -> Option<Header> {
        let b = bytes.first_chunk::<HEADER_SIZE>()?;
        let u32_at = |i: usize| u32::from_le_bytes([b[i], b[i + 1], b[i + 2], b[i + 3]]);
        let u16_at = |i: usize| u16::from_le_bytes([b[i], b[i + 1]]);
        Some(Header {
            size: u32_at(0),
            api: u16_at(4),
            function: u16_at(6),
            lane: u32_at(8),
            seq: u32_at(12),
        })
    }

    /// The header's bytes.
    pub fn to_bytes(self) -> [u8; HEADER_SIZE] {
        let mut b = [0; HEADER_SIZE];
        b[0..4].copy_from_slice(&self.size.to_le_bytes());
        b[4..6].copy_from_slice(&self.api.to_le_bytes());
        b[6..8].copy_from_slice(&self.function.to_le_bytes());
        b[8..12].copy_from_slice(&self.lane.to_le_bytes());
        b[12..16].copy_from_slice(&self.seq.to_le_bytes());
        b
    }
}

/// Where referred-to bytes lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nowhere: the program passed a null pointer.
    Null,
    /// In the command, at this offset from its start.
    Inline(u64),
    /// In the arena, at this offset from its start.
    Arena(u64),
}

/// A reference to bytes, in two words: place and offset, then length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Where the bytes lie.
    pub place: Place,
    /// How many there are.
    pub len: u64,
}

impl Reference {
    /// A null pointer.
    pub const NULL: Reference = Reference {
        place: Place::Null,
        len: 0,
    };
    const SHIFT: u32 = 62;

    /// The two words that stand for this reference.
    pub fn to_words(self) -> [u64; 2] {
        match self.place {
            Place::Null => [0, self.len],
            Place::Inline(at) => [1 << Self::SHIFT | at, self.len],
            Place::Arena(at) => [2 << Self::SHIFT | at, self.len],
        }
    }

    /// The reference that two words stand for.
    pub fn from_words(place: u64, len: u64) -> Option<Reference> {
        let at = place & ((1 << Self::SHIFT) - 1);
        let place = match place >> Self::SHIFT {
            0 if at == 0 => Place::Null,
            1 => Place::Inline(at),
            2 => Place::Arena(at),
            _ => return None,
        };
        Some(Reference { place, len })
    }
}

/// A command whose header and row of words have been found to fit into its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Its header.
    pub header: Header,
    bytes: &'a [u8],
    words: usize,
}

impl<'a> Call<'a> {
    /// Looks at the command that `bytes` consist of, for a function of `words` words.
    pub fn new(bytes: &'a [u8], words: usize) -> Option<Call<'a>> {
        let header = Header::read(bytes)?;
        let fits = header.size as usize == bytes.len()
            && bytes.len() <= MAX_COMMAND
            && bytes.len().is_multiple_of(8)
            && bytes.len() >= HEADER_SIZE + 8 * words;
        fits.then_some(Call {
            header,
            bytes,
            words,
        })
    }

    /// Word `index` of the row, which must be one that the function has.
    pub fn word(&self, index: usize) -> u64 {
        assert!(
            index < self.words,
            "the table asks for words that its function has"
        );
        let at = HEADER_SIZE + 8 * index;
        u64::from_le_bytes(self.bytes[at..at + 8].try_into().expect("eight bytes"))
    }

    /// The reference in words `index` and `index + 1`.
    pub fn reference(&self, index: usize) -> Option<Reference> {
        Reference::from_words(self.word(index), self.word(index + 1))
    }

    /// The inline bytes that `reference` points to; `None` where it points elsewhere, or outside of
    /// this command's inline bytes.
    pub fn inline(&self, reference: Reference) -> Option<&'a [u8]> {
        let Place::Inline(at) = reference.place else {
            return None;
        };
        let (at, len) = (
            usize::try_from(at).ok()?,
            usize::try_from(reference.len).ok()?,
        );
        if at < HEADER_SIZE + 8 * self.words {
            return None;
        }
        self.bytes.get(at..at.checked_add(len)?)
    }

    /// The integer of `size` bytes (at most 8) that lies `offset` bytes into what the reference at
    /// `word` points to, inside of this command; 0 for a null reference.
    pub fn number(&self, word: usize, offset: usize, size: usize) -> Option<u64> {
        let found = self.reference(word)?;
        if found.place == Place::Null {
            return Some(0);
        }
        let bytes = self.inline(found)?.get(offset..)?.get(..size)?;
        let mut value = [0; 8];
        value.get_mut(..size)?.copy_from_slice(bytes);
        Some(u64::from_le_bytes(value))
    }

    /// The whole command.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

/// Appends one command to a batch.
#[derive(Debug)]
pub struct Encoder<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    words: usize,
}

impl<'a> Encoder<'a> {
    /// Begins a command for a function of `words` words, all zero.
    pub fn new(out: &'a mut Vec<u8>, header: Header, words: usize) -> Encoder<'a> {
        let start = out.len();
        out.extend_from_slice(&header.to_bytes());
        out.resize(start + HEADER_SIZE + 8 * words, 0);
        Encoder { out, start, words }
    }

    /// Sets word `index`.
    pub fn word(&mut self, index: usize, value: u64) {
        assert!(index < self.words, "the function has word {index}");
        let at = self.start + HEADER_SIZE + 8 * index;
        self.out[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }

    /// Sets words `index` and `index + 1` to `reference`.
    pub fn reference(&mut self, index: usize, reference: Reference) {
        let [place, len] = reference.to_words();
        self.word(index, place);
        self.word(index + 1, len);
    }

    /// Appends `data` inline and sets words `index` and `index + 1` to refer to it.
    pub fn inline(&mut self, index: usize, data: &[u8]) {
        let at = (self.out.len() - self.start) as u64;
        self.out.extend_from_slice(data);
        let padded = (self.out.len() - self.start).next_multiple_of(8);
        self.out.resize(self.start + padded, 0);
        self.reference(
            index,
            Reference {
                place: Place::Inline(at),
                len: data.len() as u64,
            },
        );
    }

    /// Ends the command: fills in its size, and returns it. A command over [`MAX_COMMAND`] bytes is
    /// taken back, and `None` returned.
    pub fn finish(self) -> Option<usize> {
        let size = self.out.len() - self.start;
        if size > MAX_COMMAND {
            self.out.truncate(self.start);
            return None;
        }
        self.out[self.start..self.start + 4].copy_from_slice(&(size as u32).to_le_bytes());
        Some(size)
    }
}
