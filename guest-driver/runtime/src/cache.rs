//! Answers that cannot change, kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crate::lock;

/// Answers up to this many bytes are kept.
pub const MAX_ANSWER: u64 = 16 << 10;
/// Bytes of keys and answers kept in all; when there are more, the cache starts afresh.
const MAX_TOTAL: usize = 4 << 20;

/// What a call answered.
#[derive(Debug)]
pub struct Answer {
    /// Its return value.
    pub value: u64,
    /// The bytes of each of its outputs.
    pub outputs: Vec<Box<[u8]>>,
}

/// Answers by the bytes of what was asked.
#[derive(Debug, Default)]
pub struct Cache {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    answers: HashMap<Box<[u8]>, Arc<Answer>>,
    total: usize,
}

impl Cache {
    /// The answer to `question`, if it is known.
    pub fn get(&self, question: &[u8]) -> Option<Arc<Answer>> {
        lock(&self.kept).answers.get(question).cloned()
    }

    /// Keeps the answer to `question`.
    pub fn put(&self, question: &[u8], answer: Arc<Answer>) {
        let size = question.len()
            + answer
                .outputs
                .iter()
                .map(|bytes| bytes.len())
                .sum::<usize>();
        let mut kept = lock(&self.kept);
        if kept.total + size > MAX_TOTAL {
            *kept = Kept::default();
        }
        kept.total += size;
        kept.answers.insert(question.into(), answer);
    }
}
