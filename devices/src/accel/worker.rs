//! Workers: processes that execute one client's calls each, from start to end.
//!
//! ```text
//!            launch           hello               dismiss, or it dies
//!   (wanted) ──────▶ spare ──────────▶ serving ──────────────────────▶ ending ──▶ reaped
//!              └ on a thread of its own, ahead of need
//! ```
//!
//! A worker gets everything it may touch in its *hello*: one client's arena, the channel and three
//! events. What it says back is words for the log.

use std::collections::{HashMap, VecDeque};
use std::ffi::OsString;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::net::{RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

use super::bell::Bell;
use super::config::AccelConfig;
use super::poller::{Poller, Token, Trigger};
use super::quota::Quota;

/// How long the end of killed workers is waited for when the accelerator itself ends.
const LAST_WAIT: Duration = Duration::from_secs(2);

/// A worker, wherever it runs.
pub(super) trait Process: Send {
    /// Its number on the host, 0 if it has none.
    fn pid(&self) -> u32;
    /// Readable once it has exited.
    fn exited(&self) -> BorrowedFd<'_>;
    /// The mediator's end of its socket.
    fn socket(&self) -> BorrowedFd<'_>;
    /// Ends it at once.
    fn kill(&mut self);
    /// Takes note of its end, after [`exited`](Self::exited); says how it ended.
    fn reap(&mut self) -> String;
}

/// Starts workers.
pub(super) trait Launch: Send {
    /// Starts one. May take its time: it is called on a thread that has nothing else to do.
    fn launch(&mut self) -> io::Result<Box<dyn Process>>;
}

/// The worker's program, and what each worker may use.
#[derive(Clone, Debug)]
pub(super) struct Program {
    pub(super) worker: PathBuf,
    pub(super) cache_dir: PathBuf,
    /// Most bytes of host memory.
    pub(super) memory: Option<u64>,
    /// Folder of the control group that bounds all of a tenant's workers.
    pub(super) cgroup: Option<PathBuf>,
}

impl Program {
    pub(super) fn of(config: &AccelConfig) -> Self {
        Self {
            worker: config.worker.clone(),
            cache_dir: config.cache_dir.clone(),
            memory: config.worker_memory,
            cgroup: config.worker_cgroup.clone(),
        }
    }

    /// Its arguments, but for what it is started for.
    pub(super) fn arguments(&self) -> Vec<OsString> {
        let mut arguments = vec!["--cache".into(), self.cache_dir.clone().into()];
        if let Some(memory) = self.memory {
            arguments.extend(["--memory".into(), memory.to_string().into()]);
        }
        if let Some(cgroup) = &self.cgroup {
            arguments.extend(["--cgroup".into(), cgroup.clone().into()]);
        }
        arguments
    }
}

/// Everything that a worker gets for one client.
#[derive(Debug)]
pub(super) struct Hello {
    /// What the files are for, and which accelerators to serve: JSON.
    pub(super) text: String,
    /// Arena, channel, worker's event, mediator's event, wake-up event.
    pub(super) files: [OwnedFd; 5],
}

impl Hello {
    fn send(&self, socket: BorrowedFd<'_>) -> io::Result<()> {
        let files = self.files.each_ref().map(AsFd::as_fd);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(5))];
        let mut rights = SendAncillaryBuffer::new(&mut space);
        let pushed = rights.push(SendAncillaryMessage::ScmRights(&files));
        debug_assert!(pushed, "the space is for five files");
        rustix::net::sendmsg(
            socket,
            &[IoSlice::new(self.text.as_bytes())],
            &mut rights,
            SendFlags::DONTWAIT | SendFlags::NOSIGNAL,
        )?;
        Ok(())
    }
}

/// What a worker is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Job {
    Spare,
    Serving(u32),
    /// It has been killed; these bytes are free when it is gone.
    Ending(u64),
}

struct Member {
    process: Box<dyn Process>,
    job: Job,
    ready: bool,
}

/// A worker of a client, as the client knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hired {
    pub(super) client: u32,
    pub(super) worker: u32,
    pub(super) pid: u32,
    /// It has said that it is ready.
    pub(super) ready: bool,
}

/// All workers of one accelerator, and the thread that starts them.
pub(super) struct Crew {
    members: HashMap<u32, Member>,
    next: u32,
    spares: usize,
    /// Workers asked for that have not come yet.
    expected: usize,
    /// Clients that have no worker yet.
    waiting: VecDeque<(u32, Hello)>,
    requests: Option<Sender<()>>,
    arrivals: Receiver<io::Result<Box<dyn Process>>>,
    thread: Option<JoinHandle<()>>,
    quota_returns: u64,
}

impl Crew {
    /// A crew whose members come from `launch`, with `spares` of them waiting ahead of need.
    pub(super) fn new(
        poller: &Poller,
        mut launch: Box<dyn Launch>,
        spares: usize,
    ) -> io::Result<Self> {
        let arrived = Bell::new()?;
        poller.add(&arrived, Token::Arrivals, Trigger::Edge)?;
        let (requests, wanted) = channel();
        let (came, arrivals) = channel();
        // Its workers ask the system to be killed when the thread that started them ends: so it
        // lives as long as the crew.
        let thread = std::thread::Builder::new()
            .name("weir-launch".into())
            .spawn(move || {
                while let Ok(()) = wanted.recv() {
                    if came.send(launch.launch()).is_err() {
                        break;
                    }
                    arrived.ring();
                }
            })?;
        let mut crew = Self {
            members: HashMap::new(),
            next: 0,
            spares,
            expected: 0,
            waiting: VecDeque::new(),
            requests: Some(requests),
            arrivals,
            thread: Some(thread),
            quota_returns: 0,
        };
        crew.top_up();
        Ok(crew)
    }

    fn spare(&self) -> usize {
        let all = self.members.values();
        all.filter(|member| member.job == Job::Spare).count()
    }

    /// Workers that have been killed and are not gone yet.
    pub(super) fn ending(&self) -> usize {
        let all = self.members.values();
        all.filter(|member| matches!(member.job, Job::Ending(_)))
            .count()
    }

    /// Ends a worker for which the client has gone before it came.
    fn end_spare(&mut self) {
        let mut all = self.members.values_mut();
        if let Some(member) = all.find(|member| member.job == Job::Spare) {
            member.job = Job::Ending(0);
            member.process.kill();
        }
    }

    /// Asks for as many workers as are missing.
    fn top_up(&mut self) {
        let wanted = self.spares + self.waiting.len();
        for _ in (self.spare() + self.expected)..wanted {
            if let Some(requests) = &self.requests
                && requests.send(()).is_ok()
            {
                self.expected += 1;
            }
        }
    }

    /// Gives `client` a worker: at once if there is a spare one (rather one that is ready), else
    /// when the next one comes.
    pub(super) fn hire(&mut self, client: u32, hello: Hello) -> Option<Hired> {
        let hired = self.hire_spare(client, &hello);
        if hired.is_none() {
            self.waiting.push_back((client, hello));
        }
        self.top_up();
        hired
    }

    fn hire_spare(&mut self, client: u32, hello: &Hello) -> Option<Hired> {
        loop {
            let (worker, member) = self
                .members
                .iter_mut()
                .filter(|(_, member)| member.job == Job::Spare)
                .max_by_key(|(_, member)| member.ready)?;
            match hello.send(member.process.socket()) {
                Ok(()) => {
                    member.job = Job::Serving(client);
                    return Some(Hired {
                        client,
                        worker: *worker,
                        pid: member.process.pid(),
                        ready: member.ready,
                    });
                }
                Err(error) => {
                    log::warn!("a spare worker takes no client: {error}");
                    member.job = Job::Ending(0);
                    member.process.kill();
                }
            }
        }
    }

    /// Takes in the workers that have been started. For each client that waited: its worker, or the
    /// client's number if there is none to be had.
    pub(super) fn take_arrivals(&mut self, poller: &Poller) -> Vec<Result<Hired, u32>> {
        let mut outcomes = Vec::new();
        while let Ok(arrival) = self.arrivals.try_recv() {
            self.expected -= 1;
            let entered = arrival.and_then(|process| self.enter(poller, process));
            if let Err(error) = entered {
                log::error!("starting a worker: {error}");
                outcomes.extend(self.waiting.pop_front().map(|(client, _)| Err(client)));
            } else if let Some((client, hello)) = self.waiting.pop_front() {
                match self.hire_spare(client, &hello) {
                    Some(hired) => outcomes.push(Ok(hired)),
                    None => outcomes.push(Err(client)),
                }
            } else if self.spare() > self.spares {
                self.end_spare();
            }
        }
        outcomes
    }

    fn enter(&mut self, poller: &Poller, mut process: Box<dyn Process>) -> io::Result<()> {
        let worker = self.next;
        self.next = self.next.wrapping_add(1);
        let watched = poller
            .add(process.exited(), Token::Exit(worker), Trigger::Level)
            .and_then(|()| poller.add(process.socket(), Token::Talk(worker), Trigger::Edge));
        if let Err(error) = watched {
            process.kill();
            return Err(error);
        }
        let member = Member {
            process,
            job: Job::Spare,
            ready: false,
        };
        self.members.insert(worker, member);
        Ok(())
    }

    /// Reads what `worker` says. Returns the client whose worker has become ready by that.
    pub(super) fn hear(&mut self, worker: u32) -> Option<u32> {
        let member = self.members.get_mut(&worker)?;
        let mut became_ready = None;
        let mut text = [0; 4096];
        while let Ok((_, len)) =
            rustix::net::recv(member.process.socket(), &mut text[..], RecvFlags::DONTWAIT)
        {
            let len = len.min(text.len());
            if len == 0 {
                break;
            }
            let pid = member.process.pid();
            let said: serde_json::Value = serde_json::from_slice(&text[..len]).unwrap_or_default();
            if let Some(error) = said.get("error") {
                log::error!("worker {pid}: {error}");
            } else if said.get("ready").is_some() {
                log::debug!("worker {pid} is ready");
                member.ready = true;
                if let Job::Serving(client) = member.job {
                    became_ready = Some(client);
                }
            } else {
                log::warn!("worker {pid} says what it should not");
            }
        }
        became_ready
    }

    /// Reaps `worker`, which has exited. Returns the client that has lost it.
    pub(super) fn exited(&mut self, poller: &Poller, quota: &Quota, worker: u32) -> Option<u32> {
        let mut member = self.members.remove(&worker)?;
        poller.remove(member.process.exited());
        poller.remove(member.process.socket());
        let (pid, how) = (member.process.pid(), member.process.reap());
        match member.job {
            Job::Spare => {
                // The next client asks for another: so a worker that cannot start costs one
                // attempt a client.
                log::error!("worker {pid} ended before it had a client: {how}");
                None
            }
            Job::Serving(client) => {
                log::warn!("worker {pid} of client {client} ended: {how}");
                Some(client)
            }
            Job::Ending(bytes) => {
                log::debug!("worker {pid} is gone: {how}");
                quota.give_returning(bytes);
                self.quota_returns -= bytes;
                None
            }
        }
    }

    /// Ends `worker`. When it is gone, `bytes` go back to `quota`.
    pub(super) fn dismiss(&mut self, quota: &Quota, worker: u32, bytes: u64) {
        let Some(member) = self.members.get_mut(&worker) else {
            quota.give(bytes);
            return;
        };
        member.job = Job::Ending(bytes);
        member.process.kill();
        quota.announce_return(bytes);
        self.quota_returns += bytes;
    }

    /// Forgets that `client` waits for a worker.
    pub(super) fn abandon(&mut self, client: u32) {
        self.waiting.retain(|(waiting, _)| *waiting != client);
    }

    /// Ends all workers, and waits until they are gone.
    pub(super) fn disband(&mut self, quota: &Quota) {
        self.requests = None;
        for member in self.members.values_mut() {
            member.process.kill();
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        for mut process in self.arrivals.try_iter().flatten() {
            process.kill();
            wait_for_end(process.as_mut(), Instant::now() + LAST_WAIT);
        }
        let deadline = Instant::now() + LAST_WAIT;
        for (_, mut member) in self.members.drain() {
            wait_for_end(member.process.as_mut(), deadline);
        }
        quota.give_returning(std::mem::take(&mut self.quota_returns));
    }
}

fn wait_for_end(process: &mut dyn Process, deadline: Instant) {
    let left = deadline.saturating_duration_since(Instant::now());
    let timeout = rustix::event::Timespec {
        tv_sec: left.as_secs() as i64,
        tv_nsec: i64::from(left.subsec_nanos()),
    };
    let exited = process.exited();
    let mut poll = [rustix::event::PollFd::new(
        &exited,
        rustix::event::PollFlags::IN,
    )];
    match rustix::event::poll(&mut poll, Some(&timeout)) {
        Ok(1..) => {
            process.reap();
        }
        _ => log::error!("worker {} does not end", process.pid()),
    }
}
