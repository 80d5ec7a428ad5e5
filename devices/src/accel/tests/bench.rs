//! One client on the bench: no threads, and the test holds the worker's ends.

use weir_wire::arena::{Arena, Lost, MIN_SIZE, STREAM_OFFSET};
use weir_wire::channel::{CommandReader, Completion, CompletionWriter, Event};

use super::super::admit::{Admission, Fifo};
use super::super::bell::Bell;
use super::super::client::{Announced, Client, Desk, Turn, Wake};
use super::super::config::AccelConfig;
use super::super::gates::Gatekeeper;
use super::super::meter::{AccelHandle, ClientStats};
use super::toy;

pub struct Bench {
    pub client: Client,
    pub desk: Desk,
    pub reader: CommandReader,
    pub writer: CompletionWriter,
    /// The client's own mapping.
    pub arena: Arena,
}

pub fn config(quota: u64) -> AccelConfig {
    let mut config = AccelConfig::new("bench", "toy", toy::APIS, "/nonexistent", "/nonexistent");
    config.memory_quota = quota;
    config.arena_default = MIN_SIZE;
    config.arena_max = 4 * MIN_SIZE;
    config
}

impl Bench {
    pub fn new(quota: u64) -> Self {
        Self::with_policy(quota, Box::new(Fifo))
    }

    pub fn with_policy(quota: u64, admission: Box<dyn Admission>) -> Self {
        let tenant = super::super::meter::Tenant::new(&config(quota));
        let meter = tenant.enter(1, 42, "bench".into());
        let wake = Wake::Event(Bell::new().unwrap());
        let (client, files) = Client::new(1, MIN_SIZE, wake, meter).unwrap();
        Self {
            desk: Desk::new(toy::APIS.to_vec(), tenant, admission, Gatekeeper::open()),
            reader: CommandReader::open(&files[1]).unwrap(),
            writer: CompletionWriter::open(&files[1]).unwrap(),
            arena: Arena::map(&files[0], MIN_SIZE).unwrap(),
            client,
        }
    }

    /// Writes `bytes` to the start of the stream and announces them.
    pub fn announce(&mut self, bytes: &[u8]) {
        self.arena.memory().write(STREAM_OFFSET, bytes).unwrap();
        let announced = Announced {
            offset: STREAM_OFFSET as u32,
            length: bytes.len() as u32,
            flags: 0,
        };
        self.client.announce(announced).unwrap();
    }

    pub fn turn(&mut self) -> Result<Turn, Lost> {
        self.client.turn(&mut self.desk)
    }

    /// Gives the client turns until it has nothing more to do.
    pub fn settle(&mut self) {
        while self.turn().unwrap().worked {}
    }

    /// Announces `bytes`, lets the client work, and returns what reached the worker.
    pub fn send(&mut self, bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
        self.announce(bytes);
        self.settle();
        self.sent()
    }

    /// What has reached the worker.
    pub fn sent(&mut self) -> Vec<(u64, Vec<u8>)> {
        let (mut all, mut bytes) = (Vec::new(), Vec::new());
        while let Some(received) = self.reader.next(&mut bytes).unwrap() {
            all.push((received.id, bytes.clone()));
        }
        all
    }

    pub fn report(&mut self, id: u64, event: Event) {
        assert!(self.writer.push(Completion { id, event }).is_some());
    }

    pub fn called(&mut self, id: u64, bound: u64, error: i32) {
        self.report(id, Event::Called { bound, error });
    }

    pub fn stats(&self) -> ClientStats {
        let tenant = self.desk.tenant.clone();
        AccelHandle { tenant }.stats().clients[0].clone()
    }

    /// The API's answer to a call, as a number.
    pub fn answer(&self, who: toy::Caller) -> Option<i64> {
        self.arena.answer(who.lane, who.seq).map(|bits| bits as i64)
    }
}
