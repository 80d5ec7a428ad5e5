//! Bulk data: what the device itself reads and writes, in the arena.

use std::ffi::c_void;
use std::sync::Arc;

use weir_wire::command::{MAX_INLINE, Place};

use super::{Call, InArena};
use crate::Code;
use crate::connection::Connection;
use crate::deferred::{Shape, Target};
use crate::memory::Region;

/// The program's side of a bulk transfer.
#[derive(Debug)]
pub struct Bulk {
    address: *mut u8,
    shape: Option<Shape>,
    region: Option<Arc<Region>>,
}

impl Bulk {
    /// Bytes in one piece at `address`.
    pub fn line(address: *const c_void) -> Bulk {
        Bulk {
            address: address.cast_mut().cast(),
            shape: None,
            region: None,
        }
    }

    /// Rows of bytes that begin at `address`.
    pub fn shaped(address: *const c_void, shape: Shape) -> Bulk {
        Bulk {
            shape: Some(shape),
            ..Bulk::line(address)
        }
    }

    /// Bytes that lie in `region` of the arena already, which stays in use until the transfer is
    /// complete.
    pub fn region(weir: &Connection, region: Arc<Region>) -> Bulk {
        Bulk {
            address: weir.address(&region),
            shape: None,
            region: Some(region),
        }
    }

    /// Whether the program has passed null.
    pub fn is_null(&self) -> bool {
        self.address.is_null()
    }

    /// Where its `len` bytes lie in the arena, if they do so in one piece.
    fn in_arena(&self, weir: &Connection, len: u64) -> Option<u64> {
        match self.shape {
            None => weir.in_arena(self.address, len),
            Some(_) => None,
        }
    }
}

impl Call {
    /// Puts in bulk data of `len` bytes that the device reads.
    ///
    /// # Safety
    /// `bulk` must be null or valid for reading, and hold `len` bytes.
    pub unsafe fn bulk_input(
        &mut self,
        index: usize,
        mut bulk: Bulk,
        len: u64,
        optional: bool,
    ) -> Result<(), Code> {
        if bulk.address.is_null() {
            return self.null(optional);
        }
        let shape = self.shape_of(&bulk, len)?;
        let at = if let Some(at) = bulk.in_arena(self.weir, len) {
            at
        } else if len <= MAX_INLINE as u64 {
            let packed = self.inline(index, len as usize)?.as_mut_ptr();
            // SAFETY: the command has `len` more bytes now; the caller answers for the source.
            unsafe { shape.pack(bulk.address, packed) };
            return Ok(());
        } else {
            let region = self.weir.allocate(len)?;
            // SAFETY: the region is ours and `len` bytes long; the caller answers for the source.
            unsafe { shape.pack(bulk.address, self.weir.address(&region)) };
            let at = region.at();
            bulk.region = Some(Arc::new(region));
            at
        };
        self.reference(index, Place::Arena(at), len);
        self.work.bulk = Some(InArena {
            at,
            region: bulk.region,
            target: None,
        });
        Ok(())
    }

    /// Puts in a place for bulk data of `len` bytes that the device writes.
    ///
    /// # Safety
    /// `bulk` must be null or valid for writing `len` bytes, until the program has learned that the
    /// call is complete.
    pub unsafe fn bulk_output(
        &mut self,
        index: usize,
        bulk: Bulk,
        len: u64,
        optional: bool,
    ) -> Result<(), Code> {
        if bulk.address.is_null() {
            return self.null(optional);
        }
        let shape = self.shape_of(&bulk, len)?;
        let (at, region, target) = match bulk.in_arena(self.weir, len) {
            Some(at) => (at, bulk.region, None),
            None => {
                let region = self.weir.allocate(len)?;
                let address = bulk.address;
                (
                    region.at(),
                    Some(Arc::new(region)),
                    Some(Target { address, shape }),
                )
            }
        };
        self.reference(index, Place::Arena(at), len);
        self.work.bulk = Some(InArena { at, region, target });
        Ok(())
    }

    fn shape_of(&self, bulk: &Bulk, len: u64) -> Result<Shape, Code> {
        let len = usize::try_from(len).map_err(|_| self.malformed())?;
        let shape = bulk.shape.unwrap_or(Shape::line(len));
        if shape.len() == len {
            Ok(shape)
        } else {
            Err(self.malformed())
        }
    }

    /// Brings the results of a bulk transfer that was waited for to where they belong.
    pub(super) fn end_bulk(&mut self) {
        if let Some(InArena {
            at,
            target: Some(target),
            ..
        }) = self.work.bulk.take()
        {
            let len = target.shape.len() as u64;
            if let Ok(from) = self.weir.arena().memory().address(at, len) {
                // SAFETY: the range was checked; whoever made the call answers for the target.
                unsafe { target.shape.spread(from.as_ptr(), target.address) };
            }
        }
    }
}
