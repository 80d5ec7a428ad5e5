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

    /// Rows of bytes in slices: `extent` says how many bytes, rows and slices, `pitches` how far apart
    /// rows and slices are (0: side by side), `origin` at which byte, row and slice they begin. `None`
    /// if pitches or origin cannot be.
    ///
    /// # Safety
    /// `origin` must be null or valid for reading three numbers.
    pub unsafe fn rows(
        address: *const c_void,
        extent: [u64; 3],
        pitches: [u64; 2],
        origin: *const [usize; 3],
    ) -> Option<Bulk> {
        let origin = match origin.is_null() {
            true => [0; 3],
            // SAFETY: so the caller says.
            false => unsafe { origin.read_unaligned() },
        };
        if address.is_null() || extent.contains(&0) {
            return Some(Bulk::line(address));
        }
        let (offset, shape) = placed(extent, pitches, origin)?;
        Some(Bulk::shaped(address.wrapping_byte_add(offset), shape))
    }

    /// Where the program has it.
    pub fn address(&self) -> *const c_void {
        self.address.cast_const().cast()
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

/// Where a shape begins, and what it is.
fn placed(extent: [u64; 3], pitches: [u64; 2], origin: [usize; 3]) -> Option<(usize, Shape)> {
    let number = |value: u64| usize::try_from(value).ok();
    let [row, rows, slices] = extent.map(number);
    let (row, rows, slices) = (row?, rows?, slices?);
    let [row_pitch, slice_pitch] = pitches.map(number);
    let row_pitch = Some(row_pitch?).filter(|pitch| *pitch != 0).unwrap_or(row);
    let slice = rows.checked_mul(row_pitch)?;
    let slice_pitch = Some(slice_pitch?)
        .filter(|pitch| *pitch != 0)
        .unwrap_or(slice);
    if row_pitch < row || slice_pitch < slice {
        return None;
    }
    let shape = Shape {
        row,
        rows,
        slices,
        row_pitch,
        slice_pitch,
    };
    let spread = slices.checked_mul(slice_pitch)?;
    let offset = origin[2]
        .checked_mul(slice_pitch)?
        .checked_add(origin[1].checked_mul(row_pitch)?)?
        .checked_add(origin[0])?;
    let end = offset.checked_add(spread)?;
    (end <= isize::MAX as usize).then_some((offset, shape))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pitches_of_zero_mean_side_by_side() {
        let (offset, shape) = placed([4, 5, 6], [0, 0], [1, 2, 3]).unwrap();
        assert_eq!((shape.row_pitch, shape.slice_pitch), (4, 20));
        assert_eq!(offset, 3 * 20 + 2 * 4 + 1);
        assert_eq!(shape.len(), 4 * 5 * 6);
    }

    #[test]
    fn shapes_that_cannot_be_are_refused() {
        for (extent, pitches) in [
            ([8, 1, 1], [7, 0]),
            ([8, 2, 1], [8, 15]),
            ([u64::MAX, 2, 1], [0, 0]),
            ([8, u64::MAX, 1], [8, 0]),
        ] {
            assert_eq!(placed(extent, pitches, [0; 3]), None);
        }
    }
}
