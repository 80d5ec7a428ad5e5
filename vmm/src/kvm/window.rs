//! Windows: memory files that the guest reaches through a BAR, as KVM memory slots.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::SealFlags;
use rustix::mm::{MapFlags, ProtFlags};
use weir_devices::pci::Window;

use super::vm::Vm;

/// One window of a VM. A guest access to a part where nothing is mapped leaves KVM like any
/// device register and is answered there with all ones.
pub struct KvmWindow {
    vm: Arc<Vm>,
    size: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Where the BAR decodes.
    base: Option<u64>,
    /// Mapped pieces by their offset in the window.
    pieces: BTreeMap<u64, Piece>,
}

struct Piece {
    mapping: Mapping,
    /// The memory slot, while the BAR decodes.
    slot: Option<u32>,
}

impl KvmWindow {
    /// A window of `size` bytes in which nothing is mapped yet.
    pub fn new(vm: Arc<Vm>, size: u64) -> Arc<Self> {
        Arc::new(Self {
            vm,
            size,
            state: Mutex::default(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives `piece` a slot where the BAR decodes, if it does.
    fn attach(&self, base: Option<u64>, offset: u64, piece: &mut Piece) -> io::Result<()> {
        let Some(guest) = base.and_then(|base| base.checked_add(offset)) else {
            return Ok(());
        };
        let (host, len) = (piece.mapping.address.as_ptr() as u64, piece.mapping.len);
        // SAFETY: the mapping lives as long as its piece, and a piece's slot is removed before its
        // mapping is dropped; its file cannot shrink (see `Mapping::new`).
        let slot =
            unsafe { self.vm.add_slot(guest, len as u64, host) }.map_err(io::Error::other)?;
        piece.slot = Some(slot);
        Ok(())
    }

    fn detach(&self, piece: &mut Piece) -> io::Result<()> {
        if let Some(slot) = piece.slot {
            self.vm.remove_slot(slot).map_err(io::Error::other)?;
            piece.slot = None;
        }
        Ok(())
    }
}

impl Window for KvmWindow {
    fn size(&self) -> u64 {
        self.size
    }

    fn map(&self, offset: u64, len: u64, file: BorrowedFd<'_>) -> io::Result<()> {
        let mut state = self.state();
        check_place(self.size, &state.pieces, offset, len)?;
        let mut piece = Piece {
            mapping: Mapping::new(file, len as usize)?,
            slot: None,
        };
        self.attach(state.base, offset, &mut piece)?;
        state.pieces.insert(offset, piece);
        Ok(())
    }

    fn unmap(&self, offset: u64) -> io::Result<()> {
        let mut state = self.state();
        let piece = state
            .pieces
            .get_mut(&offset)
            .ok_or_else(|| invalid(format!("nothing is mapped at {offset:#x} of the window")))?;
        // A slot that KVM will not give up keeps its mapping: better a leak than a dangling slot.
        self.detach(piece)?;
        state.pieces.remove(&offset);
        Ok(())
    }

    fn moved(&self, base: Option<u64>) {
        let mut state = self.state();
        if state.base == base {
            return;
        }
        state.base = base;
        for (offset, piece) in &mut state.pieces {
            let result = self
                .detach(piece)
                .and_then(|()| self.attach(base, *offset, piece));
            if let Err(error) = result {
                // The guest chose this address; the piece then reads as all ones, no more.
                log::warn!("window at {base:x?}, offset {offset:#x}: {error}");
            }
        }
    }
}

impl Drop for KvmWindow {
    fn drop(&mut self) {
        let state = std::mem::take(self.state.get_mut().unwrap_or_else(PoisonError::into_inner));
        for (offset, mut piece) in state.pieces {
            if let Err(error) = self.detach(&mut piece) {
                log::warn!("closing the window at offset {offset:#x}: {error}");
                std::mem::forget(piece);
            }
        }
    }
}

/// Checks that `len` bytes at `offset` are whole pages, inside the window and free.
fn check_place<T: HasLen>(
    size: u64,
    pieces: &BTreeMap<u64, T>,
    offset: u64,
    len: u64,
) -> io::Result<()> {
    if len == 0 || !offset.is_multiple_of(4096) || !len.is_multiple_of(4096) {
        return Err(invalid(format!(
            "{len:#x} bytes at {offset:#x} are not whole pages"
        )));
    }
    let end = offset
        .checked_add(len)
        .filter(|end| *end <= size)
        .ok_or_else(|| {
            invalid(format!(
                "{len:#x} bytes at {offset:#x} end outside the window"
            ))
        })?;
    if let Some((other, piece)) = pieces.range(..end).next_back()
        && other + piece.len() > offset
    {
        return Err(invalid(format!(
            "{len:#x} bytes at {offset:#x} overlap what is mapped at {other:#x}"
        )));
    }
    Ok(())
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

/// How long a piece is; a seam for testing [`check_place`] without memory.
trait HasLen {
    fn len(&self) -> u64;
}

impl HasLen for Piece {
    fn len(&self) -> u64 {
        self.mapping.len as u64
    }
}

/// A shared mapping of a file.
struct Mapping {
    address: NonNull<libc::c_void>,
    len: usize,
}

// SAFETY: the address is only ever handed to KVM; nothing in this process reads or writes there.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Maps `len` bytes of `file`, which must be that long and sealed against shrinking: a guest
    /// access beyond its end would stop the guest's processor.
    fn new(file: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        let size = rustix::fs::fstat(file)?.st_size;
        if usize::try_from(size).unwrap_or(0) < len {
            return Err(invalid(format!(
                "a file of {size} bytes for {len} bytes of window"
            )));
        }
        if !rustix::fs::fcntl_get_seals(file)?.contains(SealFlags::SHRINK) {
            return Err(invalid("the file is not sealed against shrinking".into()));
        }
        let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        // SAFETY: a fresh mapping at an address of the system's choice touches no other memory.
        let address =
            unsafe { rustix::mm::mmap(std::ptr::null_mut(), len, protection, flags, file, 0) }?;
        let address = NonNull::new(address).ok_or_else(|| io::Error::other("mapped at zero"))?;
        Ok(Self { address, len })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: exactly what `new` mapped; its KVM slot, the only user, is gone by now.
        if let Err(error) = unsafe { rustix::mm::munmap(self.address.as_ptr(), self.len) } {
            log::warn!("unmapping {} bytes of a window: {error}", self.len);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    impl HasLen for u64 {
        fn len(&self) -> u64 {
            *self
        }
    }

    #[test]
    fn a_piece_must_be_whole_pages_inside_and_free() {
        let pieces = BTreeMap::from([(0x2000, 0x1000u64)]);
        let check = |offset, len| check_place(0x8000, &pieces, offset, len);
        assert!(check(0x3000, 0x5000).is_ok());
        assert!(check(0, 0x2000).is_ok());
        for (offset, len) in [
            (0, 0),
            (0x10, 0x1000),
            (0x3000, 0x10),
            (0x1000, 0x2000),
            (0x2000, 0x1000),
            (0, 0x8000),
            (0x7000, 0x2000),
            (!0xfff, 0x1000),
        ] {
            assert!(check(offset, len).is_err(), "{offset:#x} {len:#x}");
        }
    }

    #[test]
    fn a_file_that_may_shrink_is_refused() {
        use std::os::fd::AsFd;
        let flags = rustix::fs::MemfdFlags::ALLOW_SEALING;
        let file = std::fs::File::from(rustix::fs::memfd_create("test", flags).unwrap());
        file.set_len(4096).unwrap();
        assert!(Mapping::new(file.as_fd(), 4096).is_err());
        rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK).unwrap();
        assert!(Mapping::new(file.as_fd(), 4096).is_ok());
        assert!(Mapping::new(file.as_fd(), 8192).is_err());
    }

    /// What a guest sees that reads a word at the start of the PCI hole, tells it through a port, and
    /// adds one to it.
    fn guest_reads(vcpu: &mut kvm_ioctls::VcpuFd) -> u32 {
        use kvm_ioctls::VcpuExit;
        loop {
            match vcpu.run().unwrap() {
                VcpuExit::MmioRead(crate::layout::PCI_HOLE, data) => data.fill(0xff),
                VcpuExit::MmioWrite(crate::layout::PCI_HOLE, _) => {}
                VcpuExit::IoOut(0x10, data) => {
                    return u32::from_le_bytes(data.try_into().unwrap());
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_guest_reaches_what_is_mapped_where_the_bar_is() {
        use std::os::fd::AsFd;
        use std::os::unix::fs::FileExt;

        use vm_memory::{Bytes, GuestAddress};

        use crate::layout::{KERNEL, MEMORY_MIN, PCI_HOLE};

        const PROGRAM: [u8; 13] = [
            0xbb, 0x00, 0x00, 0x00, 0xc0, // mov ebx, PCI_HOLE
            0x8b, 0x03, // again: mov eax, [rbx]
            0xe7, 0x10, // out 0x10, eax
            0xff, 0x03, // inc dword [rbx]
            0xeb, 0xf8, // jmp again
        ];
        let Ok(kvm) = crate::kvm::vm::open() else {
            eprintln!("skipped: there is no usable /dev/kvm");
            return;
        };
        let memory = crate::memory::create(MEMORY_MIN).unwrap();
        memory.write_slice(&PROGRAM, GuestAddress(KERNEL)).unwrap();
        crate::boot::registers::write_tables(&memory).unwrap();
        let vm = Arc::new(Vm::new(&kvm, memory).unwrap());
        let mut vcpu = crate::kvm::vcpu::create(&vm, 0, 1, KERNEL).unwrap();
        let flags = rustix::fs::MemfdFlags::ALLOW_SEALING;
        let file = std::fs::File::from(rustix::fs::memfd_create("test", flags).unwrap());
        file.set_len(8192).unwrap();
        file.write_at(&41u32.to_le_bytes(), 0).unwrap();
        rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK).unwrap();

        let window = KvmWindow::new(vm, 1 << 20);
        window.map(0x1000, 8192, file.as_fd()).unwrap();
        assert_eq!(guest_reads(&mut vcpu), u32::MAX);
        window.moved(Some(PCI_HOLE - 0x1000));
        // It added one on its way to the next reading.
        assert_eq!(guest_reads(&mut vcpu), 42);
        assert_eq!(guest_reads(&mut vcpu), 43);
        window.moved(None);
        assert_eq!(guest_reads(&mut vcpu), u32::MAX);
        window.moved(Some(PCI_HOLE - 0x1000));
        window.unmap(0x1000).unwrap();
        assert_eq!(guest_reads(&mut vcpu), u32::MAX);
        window.map(0x1000, 4096, file.as_fd()).unwrap();
        assert_eq!(guest_reads(&mut vcpu), 44);
        assert!(window.map(0x1000, 4096, file.as_fd()).is_err());
        assert!(window.unmap(0x2000).is_err());
    }

    proptest! {
        #[test]
        fn accepted_pieces_never_overlap(places in proptest::collection::vec((0u64..32, 1u64..8), 0..40)) {
            let mut pieces: BTreeMap<u64, u64> = BTreeMap::new();
            for (page, pages) in places {
                let (offset, len) = (page * 4096, pages * 4096);
                let free = pieces.iter().all(|(o, l)| offset + len <= *o || o + l <= offset);
                let fits = offset + len <= 32 * 4096;
                prop_assert_eq!(check_place(32 * 4096, &pieces, offset, len).is_ok(), free && fits);
                if free && fits {
                    pieces.insert(offset, len);
                }
            }
        }
    }
}
