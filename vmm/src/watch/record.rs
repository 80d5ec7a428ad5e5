//! Recordings: samples and events as JSON, one object a line.
//!
//! ```text
//! {"weir_record":1,"interval_ms":100}
//! {"time_ms":1700000000000,"tenants":[{"tenant":"alice","accelerator":"gpu0",…},…]}
//! {"time_ms":1700000000100,"event":"alice: share 3 → 5"}
//! ```
//!
//! Times are milliseconds since 1970, counts are sums since the tenant's start. Other programs may
//! add events of their own.

use std::io::{self, BufRead, Write};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::sample::Sample;

/// The format's version.
const VERSION: u32 = 1;
/// Longest line that is taken for one of a recording.
const LINE_MAX: u64 = 1 << 22;

/// Something that happened, for the margin of a plot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When, in milliseconds since 1970.
    pub time_ms: u64,
    /// What, in a few words.
    pub event: String,
}

/// A whole recording.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recording {
    /// In the order of time.
    pub samples: Vec<Sample>,
    /// In the order of time.
    pub events: Vec<Event>,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Line {
    Begin { weir_record: u32, interval_ms: u64 },
    Sample(Sample),
    Event(Event),
}

/// Why a recording cannot be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The file cannot be read.
    #[error("reading the recording")]
    Io(#[from] io::Error),
    /// It is something else.
    #[error("this is no recording of `weir record`: {0}")]
    NotOne(&'static str),
    /// A line is not as it should be.
    #[error("line {number} of the recording makes no sense")]
    Line {
        /// Counted from one.
        number: usize,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// There is nothing to see.
    #[error("the recording has {0} samples, and a plot needs two; record for longer")]
    TooShort(usize),
}

/// Writes a recording.
pub struct Recorder<W: Write> {
    output: W,
    last: Option<Sample>,
    /// Samples written.
    pub count: u64,
}

impl<W: Write> Recorder<W> {
    /// Begins a recording of samples `interval` apart.
    pub fn begin(output: W, interval: Duration) -> io::Result<Self> {
        let mut recorder = Self {
            output,
            last: None,
            count: 0,
        };
        recorder.line(&Line::Begin {
            weir_record: VERSION,
            interval_ms: interval.as_millis() as u64,
        })?;
        Ok(recorder)
    }

    /// Adds a sample, and before it what has happened since the last.
    pub fn add(&mut self, sample: Sample) -> io::Result<()> {
        let time_ms = sample.time_ms;
        let events = self.last.iter().flat_map(|last| sample.events_since(last));
        for event in events.collect::<Vec<_>>() {
            self.line(&Line::Event(Event { time_ms, event }))?;
        }
        self.last = Some(sample.clone());
        self.count += 1;
        self.line(&Line::Sample(sample))
    }

    fn line(&mut self, line: &Line) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        // A whole line at a time, so that a recording that is cut short has at most one half line.
        self.output.write_all(&text)?;
        self.output.flush()
    }
}

impl Recording {
    /// Reads what a [`Recorder`] wrote. A last line without its end is left out.
    ///
    /// # Errors
    /// It is no recording, or an empty one.
    pub fn read(mut input: impl BufRead) -> Result<Self, ReadError> {
        let mut recording = Self::default();
        for number in 1.. {
            let mut text = Vec::new();
            io::Read::take(&mut input, LINE_MAX).read_until(b'\n', &mut text)?;
            if text.is_empty() || (number > 1 && text.last() != Some(&b'\n')) {
                break;
            }
            match (number, serde_json::from_slice(&text)) {
                (1, Ok(Line::Begin { weir_record, .. })) if weir_record == VERSION => {}
                (1, Ok(Line::Begin { .. })) => {
                    return Err(ReadError::NotOne("it is of another version"));
                }
                (1, _) => return Err(ReadError::NotOne("its first line is another's")),
                (_, Ok(Line::Sample(sample))) => recording.samples.push(sample),
                (_, Ok(Line::Event(event))) => recording.events.push(event),
                (_, Ok(Line::Begin { .. })) => {}
                (_, Err(source)) => return Err(ReadError::Line { number, source }),
            }
        }
        recording.samples.sort_by_key(|sample| sample.time_ms);
        recording.events.sort_by_key(|event| event.time_ms);
        match recording.samples.len() {
            few @ 0..2 => Err(ReadError::TooShort(few)),
            _ => Ok(recording),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::sample::tests::used;
    use super::*;

    /// Alice and bob at 3:1 for ten seconds; then alice gets 1.
    pub fn record() -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut recorder = Recorder::begin(&mut bytes, Duration::from_millis(100)).unwrap();
        let (mut alice, mut bob) = (0, 0);
        for tick in 0..200 {
            let share = if tick < 100 { 3 } else { 1 };
            alice += if tick < 100 { 75 } else { 50 };
            bob += if tick < 100 { 25 } else { 50 };
            let at = 1000 + 100 * tick;
            let tenants = vec![used("alice", share, at, alice), used("bob", 1, at, bob)];
            let time_ms = at;
            recorder.add(Sample { time_ms, tenants }).unwrap();
        }
        assert_eq!(recorder.count, 200);
        bytes
    }

    #[test]
    fn what_is_written_is_read() {
        let recording = Recording::read(&record()[..]).unwrap();
        assert_eq!(recording.samples.len(), 200);
        assert_eq!(recording.samples[7].tenants[0].device_time_ns, 600_000_000);
        let event = Event {
            time_ms: 11_000,
            event: "alice: share 3 → 1".into(),
        };
        assert_eq!(recording.events, [event]);
    }

    #[test]
    fn a_recording_that_was_cut_short_is_read_as_far_as_it_goes() {
        let bytes = record();
        let recording = Recording::read(&bytes[..bytes.len() - 5]).unwrap();
        assert_eq!(recording.samples.len(), 199);
    }

    #[test]
    fn other_files_are_refused() {
        let refused = |bytes: &[u8]| Recording::read(bytes).unwrap_err().to_string();
        assert!(refused(b"").contains("0 samples"));
        assert!(refused(b"\x7fELF").contains("no recording"));
        assert!(refused(b"{\"weir_record\":9,\"interval_ms\":1}\n").contains("version"));
        let begin = "{\"weir_record\":1,\"interval_ms\":1}\n";
        assert!(refused(begin.as_bytes()).contains("0 samples"));
        assert!(refused(format!("{begin}what\n").as_bytes()).contains("line 2"));
    }
}
