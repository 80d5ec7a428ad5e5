//! Admission: when a command that has passed all checks may go to its worker.
//!
//! A policy is asked about the command at the front of a client's stream, again and again until it
//! lets it go. A command held back holds up its own client's stream, and no other client's.
//!
//! Commands that make the device work are not held here: they would hold up what comes after them.
//! They are sent, and begin when their gates are opened (`gates`).

use weir_wire::function::Function;

use super::limits::Limits;

/// A command that wants to go to its worker.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// The client's number.
    pub client: u32,
    /// What it calls.
    pub function: &'static Function,
    /// Bytes that it carries, both ways together.
    pub bytes: u64,
    /// The time, in nanoseconds.
    pub now: u64,
}

impl Request {
    /// Whether the command makes the device work.
    pub fn device_time(&self) -> bool {
        self.function.device_time
    }
}

/// What becomes of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It goes now.
    Forward,
    /// It waits; the policy is asked again.
    Hold,
}

/// A policy of admission. It runs on the mediator's thread and must not block.
pub trait Admission: Send {
    /// Whether the command at the front of a client's stream may go now.
    fn admit(&mut self, request: Request) -> Decision;

    /// A command that was let go has not been sent after all, and will be asked about again.
    fn take_back(&mut self, _request: Request) {}

    /// The limits are these from now on.
    fn set_limits(&mut self, _limits: Limits) {}

    /// When a command that is held can go.
    fn again_at(&self) -> Option<u64> {
        None
    }

    /// For how long commands have been held, in nanoseconds.
    fn held_ns(&self) -> u64 {
        0
    }
}

/// Lets every command go at once, in the order in which it comes.
#[derive(Debug, Default)]
pub struct Fifo;

impl Admission for Fifo {
    fn admit(&mut self, _request: Request) -> Decision {
        Decision::Forward
    }
}

/// How much of a second's worth may come at once.
const BURST: u64 = 10;

/// Lets so many calls and bytes go in a second.
#[derive(Debug)]
pub struct Rates {
    calls: Bucket,
    bytes: Bucket,
    held_since: Option<u64>,
    held_ns: u64,
}

#[derive(Debug, Default)]
struct Bucket {
    per_second: u64,
    /// What is left, times 10⁹; less than nothing where something large went.
    left: i128,
    filled: u64,
}

impl Bucket {
    const SECOND: i128 = 1_000_000_000;

    fn set(&mut self, per_second: u64) {
        if self.per_second == 0 {
            self.left = i128::from(per_second) * Self::SECOND / i128::from(BURST);
        }
        self.per_second = per_second;
    }

    fn fill(&mut self, now: u64) {
        let past = i128::from(now.saturating_sub(self.filled));
        self.filled = self.filled.max(now);
        let rate = i128::from(self.per_second);
        let most = rate * Self::SECOND / i128::from(BURST);
        self.left = (self.left + past * rate).min(most.max(Self::SECOND));
    }

    fn has(&self) -> bool {
        self.left > 0
    }

    fn take(&mut self, amount: u64) {
        self.left -= i128::from(amount) * Self::SECOND;
    }

    fn again_at(&self) -> u64 {
        let missing = (1 - self.left).max(0) / i128::from(self.per_second.max(1));
        self.filled
            .saturating_add(u64::try_from(missing + 1).unwrap_or(u64::MAX))
    }
}

impl Rates {
    /// The rates of `limits`.
    pub fn new(limits: Limits) -> Self {
        let mut rates = Self {
            calls: Bucket::default(),
            bytes: Bucket::default(),
            held_since: None,
            held_ns: 0,
        };
        rates.set_limits(limits);
        rates
    }
}

impl Admission for Rates {
    fn admit(&mut self, request: Request) -> Decision {
        self.calls.fill(request.now);
        self.bytes.fill(request.now);
        if !self.calls.has() || !self.bytes.has() {
            let since = self.held_since.get_or_insert(request.now);
            self.held_ns += request.now.saturating_sub(*since);
            *since = request.now;
            return Decision::Hold;
        }
        if let Some(since) = self.held_since.take() {
            self.held_ns += request.now.saturating_sub(since);
        }
        self.calls.take(1);
        self.bytes.take(request.bytes);
        Decision::Forward
    }

    fn take_back(&mut self, request: Request) {
        self.calls.left += Bucket::SECOND;
        self.bytes.left += i128::from(request.bytes) * Bucket::SECOND;
    }

    fn set_limits(&mut self, limits: Limits) {
        self.calls.set(limits.calls_per_second);
        self.bytes.set(limits.bytes_per_second);
    }

    fn again_at(&self) -> Option<u64> {
        self.held_since
            .map(|_| self.calls.again_at().max(self.bytes.again_at()))
    }

    fn held_ns(&self) -> u64 {
        self.held_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static NOTHING: Function = Function {
        name: "nothing",
        words: 0,
        params: &[],
        failure: weir_wire::function::Failure::Return,
        blocks: None,
        holds: None,
        too_large: None,
        keeps: None,
        device_time: false,
        order: None,
        retains: None,
        releases: None,
    };

    fn request(bytes: u64, now: u64) -> Request {
        Request {
            client: 1,
            function: &NOTHING,
            bytes,
            now,
        }
    }

    fn rates(calls: u64, bytes: u64) -> Rates {
        Rates::new(Limits {
            calls_per_second: calls,
            bytes_per_second: bytes,
            ..Limits::default()
        })
    }

    /// Asks for `seconds`, whenever something can go, and returns how many went.
    fn went(rates: &mut Rates, bytes: u64, seconds: u64) -> u64 {
        let (mut now, mut count) = (0, 0);
        while now < seconds * 1_000_000_000 {
            match rates.admit(request(bytes, now)) {
                Decision::Forward => count += 1,
                Decision::Hold => now = rates.again_at().unwrap().max(now + 1),
            }
        }
        count
    }

    #[test]
    fn so_many_go_in_a_second_and_a_tenth_of_them_at_once() {
        let count = went(&mut rates(100, 1 << 40), 5, 10);
        assert!((1008..=1012).contains(&count), "{count}");
        let count = went(&mut rates(1 << 40, 1000), 10, 10);
        assert!((1000..=1022).contains(&count), "{count}");
        let count = went(&mut rates(1, 1 << 40), 10, 100);
        assert!((100..=102).contains(&count), "{count}");
    }

    #[test]
    fn a_call_larger_than_a_second_goes_and_is_waited_for() {
        let mut rates = rates(1 << 40, 1000);
        assert_eq!(rates.admit(request(10_000, 1)), Decision::Forward);
        assert_eq!(rates.admit(request(1, 2)), Decision::Hold);
        let again = rates.again_at().unwrap();
        assert!((9_800_000_000..10_100_000_000).contains(&again), "{again}");
        assert_eq!(rates.admit(request(1, again - 2_000_000)), Decision::Hold);
        assert_eq!(rates.admit(request(1, again)), Decision::Forward);
        assert!(rates.held_ns() > 9_000_000_000);
    }

    #[test]
    fn what_is_taken_back_did_not_count() {
        let mut rates = rates(10, 1 << 40);
        for now in 0..1000 {
            assert_eq!(rates.admit(request(1, now)), Decision::Forward);
            rates.take_back(request(1, now));
        }
    }
}
