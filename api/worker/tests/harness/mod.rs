//! A guest and a VMM in one: makes a client's memory, hands it to a real worker process, and sends it
//! commands as a guest library would encode them.

#![allow(dead_code, reason = "each test uses its own part")]

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
    sendmsg, socketpair,
};
use weir_api_opencl::table::API;
use weir_wire::arena::{Arena, DATA_OFFSET};
use weir_wire::channel::{Completion, Event, VmmEnd, create};
use weir_wire::command::{Encoder, Header, Place, Reference};
use weir_wire::handle::Handle;

/// Bytes of the test's arena.
pub const ARENA: u64 = 64 << 20;
/// Device memory that the client may use.
pub const QUOTA: u64 = 256 << 20;

/// A word that the worker's starter has in its environment, and that no client may see.
pub const SECRET: &str = "xyzzy_environment";

/// One argument of a call; arguments go by the names of the spec.
pub enum Argument<'a> {
    /// A scalar.
    Scalar(u64),
    /// An existing or proposed handle.
    Handle(Handle),
    /// Bytes, inline.
    Bytes(&'a [u8]),
    /// Bytes in the arena.
    Arena(u64, u64),
    /// Existing handles.
    Handles(&'a [Handle]),
    /// Proposed handles of objects that the call finds, and where in the arena the answer goes.
    Found(&'a [Handle], u64),
    /// Bytes for a parameter that takes a handle or bytes.
    Value(&'a [u8]),
}

/// A client of a worker of its own.
pub struct Client {
    /// Its arena.
    pub arena: Arena,
    /// The VMM's end of the channel.
    pub vmm: VmmEnd,
    /// The worker.
    pub child: Child,
    /// What the worker reported.
    pub completions: Vec<Completion>,
    socket: OwnedFd,
    event: OwnedFd,
    commands: u64,
    seq: u32,
    slots: u32,
    data: u64,
}

impl Client {
    /// Starts a worker with its cache in `cache` and hands it a client.
    pub fn new(cache: &Path) -> Client {
        Client::with(cache, &[])
    }

    /// The same, with more arguments for the worker.
    pub fn with(cache: &Path, arguments: &[&str]) -> Client {
        let (ours, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::empty(),
            None,
        )
        .unwrap();
        rustix::io::fcntl_setfd(&ours, rustix::io::FdFlags::CLOEXEC).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_weir-worker"))
            .args(["--socket", &theirs.as_raw_fd().to_string(), "--cache"])
            .arg(cache)
            .args(arguments)
            .env("WEIR_TEST_SECRET", SECRET)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        drop(theirs);
        let (arena, arena_file) = Arena::create(ARENA).unwrap();
        let (vmm, channel) = create().unwrap();
        let event = || eventfd(0, EventfdFlags::CLOEXEC).unwrap();
        let (worker_event, vmm_event, wake) = (event(), event(), event());
        let hello = format!(
            r#"{{"arena_size":{ARENA},"wake":"futex","accelerators":[{{"api":"opencl","platform":"Portable","device":0,"memory":{QUOTA}}}]}}"#
        );
        let files = [&arena_file, &channel, &worker_event, &vmm_event, &wake].map(AsFd::as_fd);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(5))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(&files)));
        let parts = [IoSlice::new(hello.as_bytes())];
        sendmsg(&ours, &parts, &mut ancillary, SendFlags::empty()).unwrap();
        Client {
            arena,
            vmm,
            child,
            completions: Vec::new(),
            socket: ours,
            event: worker_event,
            commands: 0,
            seq: 0,
            slots: 0,
            data: DATA_OFFSET,
        }
    }

    /// Proposes a new handle.
    pub fn propose(&mut self) -> Handle {
        self.slots += 1;
        Handle::new(self.slots, 1)
    }

    /// Allocates arena bytes.
    pub fn allocate(&mut self, len: u64) -> u64 {
        let at = self.data;
        self.data = (at + len).next_multiple_of(64);
        assert!(self.data <= ARENA);
        at
    }

    /// Reads arena bytes.
    pub fn read(&self, at: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.arena.memory().read(at, &mut bytes).unwrap();
        bytes
    }

    /// Reads an arena word.
    pub fn word(&self, at: u64) -> u64 {
        u64::from_le_bytes(self.read(at, 8).try_into().unwrap())
    }

    /// Sends a command; `lane` is its reply slot, `seq` its number there or 0. Returns its id.
    pub fn send(
        &mut self,
        function: u16,
        arguments: &[(&str, Argument<'_>)],
        lane: u32,
        seq: u32,
    ) -> u64 {
        let described = &API.functions[usize::from(function)];
        let mut bytes = Vec::new();
        let header = Header {
            size: 0,
            api: API.id,
            function,
            lane,
            seq,
        };
        let mut encoder = Encoder::new(&mut bytes, header, described.words);
        for (name, argument) in arguments {
            let param = described.params.iter().find(|p| p.name == *name);
            let word = param
                .unwrap_or_else(|| panic!("{} has no {name}", described.name))
                .word;
            let bytes_of = |handles: &[Handle]| -> Vec<u8> {
                handles.iter().flat_map(|h| h.0.to_le_bytes()).collect()
            };
            let in_arena = |at, len| Reference {
                place: Place::Arena(at),
                len,
            };
            match argument {
                Argument::Scalar(value) => encoder.word(word, *value),
                Argument::Handle(handle) => encoder.word(word, handle.0),
                Argument::Bytes(data) => encoder.inline(word, data),
                Argument::Arena(at, len) => encoder.reference(word, in_arena(*at, *len)),
                Argument::Handles(handles) => encoder.inline(word, &bytes_of(handles)),
                Argument::Found(handles, at) => {
                    encoder.inline(word, &bytes_of(handles));
                    encoder.reference(word + 2, in_arena(*at, 8 * handles.len() as u64));
                }
                Argument::Value(data) => encoder.inline(word + 1, data),
            }
        }
        encoder.finish().unwrap();
        self.send_bytes(&bytes)
    }

    /// Sends a command's bytes as they are.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> u64 {
        self.commands += 1;
        while !self.vmm.push(self.commands, bytes).unwrap() {
            std::thread::yield_now();
        }
        if self.vmm.publish() {
            weir_runtime::session::raise(&self.event);
        }
        self.commands
    }

    /// Sends a command on lane 0 and waits for its answer.
    pub fn call(&mut self, function: u16, arguments: &[(&str, Argument<'_>)]) -> u64 {
        self.seq += 1;
        let seq = self.seq;
        self.send(function, arguments, 0, seq);
        self.answer(0, seq)
    }

    /// Sends a command on lane 0 that nobody waits for.
    pub fn queue(&mut self, function: u16, arguments: &[(&str, Argument<'_>)]) -> u64 {
        self.send(function, arguments, 0, 0)
    }

    /// Waits for an answer.
    pub fn answer(&mut self, lane: u32, seq: u32) -> u64 {
        let patience = Instant::now() + Duration::from_secs(60);
        loop {
            self.drain();
            if let Some(value) = self.arena.answer(lane, seq) {
                return value;
            }
            let over = self.child.try_wait().unwrap();
            assert!(over.is_none(), "the worker ended: {over:?}");
            assert!(Instant::now() < patience, "no answer");
            std::thread::sleep(Duration::from_micros(50));
        }
    }

    /// Takes what the worker has reported.
    pub fn drain(&mut self) {
        while let Some(completion) = self.vmm.next_completion().unwrap() {
            self.completions.push(completion);
        }
    }

    /// What was reported of the call of command `id`.
    pub fn called(&mut self, id: u64) -> Option<(u64, i32)> {
        self.drain();
        self.completions.iter().find_map(|done| match done.event {
            Event::Called { bound, error } if done.id == id => Some((bound, error)),
            _ => None,
        })
    }

    /// Device time that was reported for command `id`.
    pub fn executed(&mut self, id: u64) -> Option<u64> {
        self.drain();
        self.completions.iter().find_map(|done| match done.event {
            Event::Executed { device_ns } if done.id == id => Some(device_ns),
            _ => None,
        })
    }

    /// The platform's and the device's handle, a new context's and a new queue's.
    pub fn setup(&mut self, queue_properties: u64) -> Setup {
        use weir_api_opencl::table::functions as f;
        let answer = self.allocate(8);
        let count = self.allocate(4);
        let (platform, device) = (self.propose(), self.propose());
        let found = [platform];
        let error = self.call(
            f::clGetPlatformIDs,
            &[
                ("num_entries", Argument::Scalar(1)),
                ("platforms", Argument::Found(&found, answer)),
                ("num_platforms", Argument::Arena(count, 4)),
            ],
        );
        assert_eq!((error, self.word(answer)), (0, platform.0));
        let found = [device];
        let error = self.call(
            f::clGetDeviceIDs,
            &[
                ("platform", Argument::Handle(platform)),
                ("device_type", Argument::Scalar(0xffff_ffff)),
                ("num_entries", Argument::Scalar(1)),
                ("devices", Argument::Found(&found, answer)),
                ("num_devices", Argument::Arena(count, 4)),
            ],
        );
        assert_eq!((error, self.word(answer)), (0, device.0));
        let errcode = self.allocate(4);
        let context = self.propose();
        let made = self.call(
            f::clCreateContext,
            &[
                ("num_devices", Argument::Scalar(1)),
                ("devices", Argument::Handles(&[device])),
                ("errcode_ret", Argument::Arena(errcode, 4)),
                ("return", Argument::Handle(context)),
            ],
        );
        assert_eq!(made, context.0);
        let queue = self.propose();
        let made = self.call(
            f::clCreateCommandQueue,
            &[
                ("context", Argument::Handle(context)),
                ("device", Argument::Handle(device)),
                ("properties", Argument::Scalar(queue_properties)),
                ("errcode_ret", Argument::Arena(errcode, 4)),
                ("return", Argument::Handle(queue)),
            ],
        );
        assert_eq!(made, queue.0);
        Setup {
            platform,
            device,
            context,
            queue,
            errcode,
        }
    }

    /// A new buffer.
    pub fn buffer(&mut self, setup: &Setup, size: u64) -> Handle {
        let buffer = self.propose();
        let made = self.call(
            weir_api_opencl::table::functions::clCreateBuffer,
            &[
                ("context", Argument::Handle(setup.context)),
                ("flags", Argument::Scalar(1)),
                ("size", Argument::Scalar(size)),
                ("errcode_ret", Argument::Arena(setup.errcode, 4)),
                ("return", Argument::Handle(buffer)),
            ],
        );
        assert_eq!(made, buffer.0);
        buffer
    }

    /// Builds a new program. Answers it, the call's error and the log.
    pub fn build(&mut self, setup: &Setup, source: &str) -> (Handle, i32, String) {
        use weir_api_opencl::table::functions as f;
        let mut strings = Vec::new();
        for word in [1, source.len() as u64] {
            strings.extend_from_slice(&word.to_le_bytes());
        }
        strings.extend_from_slice(source.as_bytes());
        let program = self.propose();
        let made = self.call(
            f::clCreateProgramWithSource,
            &[
                ("context", Argument::Handle(setup.context)),
                ("count", Argument::Scalar(1)),
                ("strings", Argument::Bytes(&strings)),
                ("errcode_ret", Argument::Arena(setup.errcode, 4)),
                ("return", Argument::Handle(program)),
            ],
        );
        assert_eq!(made, program.0);
        let options = [
            ("program", Argument::Handle(program)),
            ("options", Argument::Bytes(b"-cl-std=CL1.2\0")),
        ];
        let error = self.call(f::clBuildProgram, &options) as u32 as i32;
        const ROOM: u64 = 1 << 20;
        let (at, size) = (self.allocate(ROOM), self.allocate(8));
        self.call(
            f::clGetProgramBuildInfo,
            &[
                ("program", Argument::Handle(program)),
                ("device", Argument::Handle(setup.device)),
                (
                    "param_name",
                    Argument::Scalar(
                        weir_api_opencl::table::constants::CL_PROGRAM_BUILD_LOG.into(),
                    ),
                ),
                ("param_value_size", Argument::Scalar(ROOM)),
                ("param_value", Argument::Arena(at, ROOM)),
                ("param_value_size_ret", Argument::Arena(size, 8)),
            ],
        );
        let len = self.word(size).min(ROOM) as usize;
        let log = String::from_utf8_lossy(&self.read(at, len)).into_owned();
        (program, error, log)
    }

    /// A kernel of a newly built program.
    pub fn kernel(&mut self, setup: &Setup, source: &str, name: &str) -> Handle {
        use weir_api_opencl::table::functions as f;
        let (program, error, log) = self.build(setup, source);
        assert_eq!(error, 0, "{log}");
        let kernel = self.propose();
        let mut zero_terminated = name.as_bytes().to_vec();
        zero_terminated.push(0);
        let made = self.call(
            f::clCreateKernel,
            &[
                ("program", Argument::Handle(program)),
                ("kernel_name", Argument::Bytes(&zero_terminated)),
                ("errcode_ret", Argument::Arena(setup.errcode, 4)),
                ("return", Argument::Handle(kernel)),
            ],
        );
        assert_eq!(made, kernel.0);
        kernel
    }

    /// Queues a kernel's argument.
    pub fn argument(&mut self, kernel: Handle, index: u64, value: Result<Handle, &[u8]>) {
        let (size, value) = match value {
            Ok(handle) => (8, Argument::Handle(handle)),
            Err(bytes) => (bytes.len() as u64, Argument::Value(bytes)),
        };
        self.queue(
            weir_api_opencl::table::functions::clSetKernelArg,
            &[
                ("kernel", Argument::Handle(kernel)),
                ("arg_index", Argument::Scalar(index)),
                ("arg_size", Argument::Scalar(size)),
                ("arg_value", value),
            ],
        );
    }

    /// Closes the worker's socket and waits until it has ended. Returns how long that took.
    pub fn close(mut self) -> Duration {
        let since = Instant::now();
        let Client { socket, .. } = &mut self;
        rustix::net::shutdown(&*socket, rustix::net::Shutdown::Both).unwrap();
        self.child.wait().unwrap();
        since.elapsed()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What most tests begin with.
pub struct Setup {
    /// The platform.
    pub platform: Handle,
    /// The device.
    pub device: Handle,
    /// A context.
    pub context: Handle,
    /// A queue.
    pub queue: Handle,
    /// Where errors go.
    pub errcode: u64,
}
