//! Messages between a tenant and its mediator, as `docs/device.md` lays them down.

/// Version of the device's interface.
pub(super) const VERSION: u32 = 1;
/// Bytes of the longest request.
pub(super) const MAX_REQUEST: usize = 40;
/// Bytes of an announcement on the submit queue.
pub(super) const SUBMIT_SIZE: usize = 16;

const CREATE: u32 = 1;
const DESTROY: u32 = 2;
/// Only on sockets, where control requests and announcements come the same way.
const SUBMIT: u32 = 3;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Status {
    Ok = 0,
    Malformed = 1,
    NoClient = 2,
    TooMany = 3,
    NoRoom = 4,
    NoWorker = 5,
}

/// A request for a new client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Create {
    pub(super) arena_size: u64,
    pub(super) pid: u32,
    pub(super) comm: [u8; 16],
}

/// What a tenant asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    Create(Create),
    Destroy { client: u32 },
}

/// A batch is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Submit {
    pub(super) client: u32,
    pub(super) flags: u32,
    pub(super) offset: u32,
    pub(super) length: u32,
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u64::from_le_bytes(*bytes))
}

impl Request {
    /// The request that `bytes` begin with; `None` if it is malformed.
    pub(super) fn read(bytes: &[u8]) -> Option<Request> {
        let (kind, client) = (u32_at(bytes, 0)?, u32_at(bytes, 4)?);
        match kind {
            CREATE => {
                let create = Create {
                    arena_size: u64_at(bytes, 8)?,
                    pid: u32_at(bytes, 16)?,
                    comm: *bytes.get(24..)?.first_chunk()?,
                };
                let reserved = u32_at(bytes, 20)?;
                (client == 0 && reserved == 0).then_some(Request::Create(create))
            }
            DESTROY => Some(Request::Destroy { client }),
            _ => None,
        }
    }
}

impl Submit {
    /// The announcement that `bytes` begin with.
    pub(super) fn read(bytes: &[u8]) -> Option<Submit> {
        Some(Submit {
            client: u32_at(bytes, 0)?,
            flags: u32_at(bytes, 4)?,
            offset: u32_at(bytes, 8)?,
            length: u32_at(bytes, 12)?,
        })
    }

    /// The announcement that a message on a socket is, if it is one. The socket says who it is.
    pub(super) fn read_message(bytes: &[u8]) -> Option<Submit> {
        (u32_at(bytes, 0)? == SUBMIT)
            .then(|| Submit::read(bytes))
            .flatten()
            .map(|submit| Submit {
                client: 0,
                ..submit
            })
    }
}

/// The answer to a successful request for a new client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Created {
    pub(super) client: u32,
    pub(super) window_offset: u64,
    pub(super) arena_size: u64,
}

impl Created {
    pub(super) fn to_bytes(self) -> [u8; 24] {
        let mut bytes = [0; 24];
        bytes[0..4].copy_from_slice(&(Status::Ok as u32).to_le_bytes());
        bytes[4..8].copy_from_slice(&self.client.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.window_offset.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.arena_size.to_le_bytes());
        bytes
    }
}

impl Status {
    /// An answer of `N` bytes that says only this.
    pub(super) fn to_bytes<const N: usize>(self) -> [u8; N] {
        let mut bytes = [0; N];
        bytes[0..4].copy_from_slice(&(self as u32).to_le_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// What a tenant sends is a request or it is not: whatever it is, and however short.
        #[test]
        fn no_message_is_too_odd(mut bytes in prop::collection::vec(any::<u8>(), 0..64), kind in 0u32..5) {
            if let Some(first) = bytes.first_chunk_mut() {
                *first = kind.to_le_bytes();
            }
            let request = Request::read(&bytes);
            let submit = Submit::read_message(&bytes);
            if let Some(Request::Create(_)) = request {
                prop_assert!(kind == CREATE && bytes.len() >= MAX_REQUEST);
            }
            if let Some(submit) = submit {
                prop_assert!(kind == SUBMIT && bytes.len() >= SUBMIT_SIZE && submit.client == 0);
            }
            prop_assert!(request.is_none() || submit.is_none());
        }
    }
}
