//! Loading a kernel the way a boot loader would, by the Linux x86 boot protocol, 64-bit entry.

pub mod firmware;
pub mod parameters;
pub mod registers;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use linux_loader::bootparam::setup_header;
use linux_loader::loader::{self, BzImage, Elf, KernelLoader};
use thiserror::Error;
use vm_memory::{Address, Bytes, GuestAddress, GuestMemoryError};

use crate::layout;
use crate::memory::GuestMemory;

/// Offset of the 64-bit entry point in the part of a bzImage that is loaded.
const BZIMAGE_ENTRY_64: u64 = 0x200;
/// Bit of `xloadflags`: the kernel has a 64-bit entry point there.
const XLF_KERNEL_64: u16 = 1;
/// "HdrS", which marks a bzImage.
const BZIMAGE_MAGIC: u32 = 0x5372_6448;
/// Highest address of an initrd, where the kernel does not say (boot protocol before 2.03).
const INITRD_MAX_DEFAULT: u64 = 0x37ff_ffff;

/// Why a kernel could not be loaded.
#[derive(Debug, Error)]
pub enum BootError {
    /// A file could not be read.
    #[error("reading {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file is neither kind of kernel.
    #[error(
        "{} is not a kernel that Weir can boot: it must be a 64-bit bzImage (such as Debian's \
         /boot/vmlinuz-*) or an ELF vmlinux for x86-64",
        .0.display()
    )]
    NotAKernel(PathBuf),
    /// The loader refused the kernel.
    #[error("loading the kernel {}", path.display())]
    Load {
        /// The file.
        path: PathBuf,
        /// What the loader said.
        #[source]
        source: loader::Error,
    },
    /// Kernel and initrd do not fit.
    #[error(
        "the kernel needs memory up to {kernel_end:#x} and the initrd {initrd} bytes above it, \
         which do not fit into {memory} bytes: give the guest more memory"
    )]
    TooSmall {
        /// End of what the kernel needs to unpack itself.
        kernel_end: u64,
        /// Bytes of the initrd.
        initrd: u64,
        /// Bytes of usable memory.
        memory: u64,
    },
    /// The command line is too long.
    #[error("the kernel's command line has {len} bytes; this kernel takes {max}")]
    CommandLine {
        /// Bytes given.
        len: usize,
        /// Bytes the kernel takes.
        max: usize,
    },
    /// Guest memory refused.
    #[error("writing boot structures to guest memory")]
    Memory(#[from] GuestMemoryError),
}

/// What kind of kernel a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelKind {
    /// A compressed kernel with a boot protocol header.
    BzImage,
    /// An uncompressed one.
    Elf,
}

/// A kernel in guest memory, ready to run.
#[derive(Debug)]
pub struct Loaded {
    /// Guest-physical address of its 64-bit entry point.
    pub entry: u64,
    /// Its boot protocol header, changed by what a boot loader fills in.
    header: setup_header,
    /// First address that it does not need for itself.
    end: u64,
}

/// Says what kind of kernel `path` is, by its first bytes.
pub fn kernel_kind(path: &Path) -> Result<KernelKind, BootError> {
    kind_of(&open(path)?, path)
}

/// Opens the kernel or initrd at `path`.
pub fn open(path: &Path) -> Result<File, BootError> {
    File::open(path).map_err(|source| BootError::Read {
        path: path.into(),
        source,
    })
}

fn kind_of(mut file: &File, path: &Path) -> Result<KernelKind, BootError> {
    let mut start = Vec::new();
    file.seek(SeekFrom::Start(0))
        .and_then(|_| file.take(0x270).read_to_end(&mut start))
        .map_err(|source| BootError::Read {
            path: path.into(),
            source,
        })?;
    identify(&start).ok_or_else(|| BootError::NotAKernel(path.into()))
}

fn identify(start: &[u8]) -> Option<KernelKind> {
    let u16_at = |at: usize| Some(u16::from_le_bytes(start.get(at..at + 2)?.try_into().ok()?));
    let is_elf_x86_64 = start.starts_with(b"\x7fELF\x02\x01") && u16_at(0x12) == Some(62);
    if is_elf_x86_64 {
        return Some(KernelKind::Elf);
    }
    let magic = start.get(0x202..0x206)?;
    let is_bzimage = magic == BZIMAGE_MAGIC.to_le_bytes();
    // Protocol 2.12 is the first that tells of 64-bit entry points.
    let has_entry_64 = u16_at(0x206)? >= 0x20c && u16_at(0x236)? & XLF_KERNEL_64 != 0;
    (is_bzimage && has_entry_64).then_some(KernelKind::BzImage)
}

/// Loads the kernel in `file`, which is called `path`.
pub fn load_kernel(
    memory: &GuestMemory,
    mut file: &File,
    path: &Path,
) -> Result<Loaded, BootError> {
    let kind = kind_of(file, path)?;
    let read_error = |source| BootError::Read {
        path: path.into(),
        source,
    };
    file.seek(SeekFrom::Start(0)).map_err(read_error)?;
    let (place, high) = (
        GuestAddress(layout::KERNEL),
        GuestAddress(layout::HIGH_MEMORY),
    );
    let result = match kind {
        KernelKind::BzImage => BzImage::load(memory, Some(place), &mut file, Some(high)),
        KernelKind::Elf => Elf::load(memory, None, &mut file, Some(high)),
    };
    let result = result.map_err(|source| BootError::Load {
        path: path.into(),
        source,
    })?;
    let load = result.kernel_load.raw_value();
    Ok(match result.setup_header {
        Some(header) => Loaded {
            entry: load + BZIMAGE_ENTRY_64,
            end: load + u64::from(header.init_size).max(result.kernel_end - load),
            header,
        },
        None => Loaded {
            entry: load,
            end: result.kernel_end,
            header: elf_header(),
        },
    })
}

/// The header for a kernel that brings none: what every kernel since protocol 2.12 accepts.
fn elf_header() -> setup_header {
    setup_header {
        boot_flag: 0xaa55,
        header: BZIMAGE_MAGIC,
        version: 0x20c,
        kernel_alignment: 0x20_0000,
        initrd_addr_max: 0x7fff_ffff,
        cmdline_size: 2047,
        ..Default::default()
    }
}

/// Loads the initrd in `file`, which is called `path`, as high as the kernel allows, and tells the kernel of it.
pub fn load_initrd(
    memory: &GuestMemory,
    memory_size: u64,
    kernel: &mut Loaded,
    mut file: &File,
    path: &Path,
) -> Result<(), BootError> {
    let read_error = |source| BootError::Read {
        path: path.into(),
        source,
    };
    file.seek(SeekFrom::Start(0)).map_err(read_error)?;
    let size = file.metadata().map_err(read_error)?.len();
    let low = layout::memory_ranges(memory_size).0;
    let highest = match kernel.header.initrd_addr_max {
        0 => INITRD_MAX_DEFAULT,
        max => u64::from(max),
    };
    let address = initrd_place(kernel.end, low.end.min(highest + 1), size).ok_or({
        BootError::TooSmall {
            kernel_end: kernel.end,
            initrd: size,
            memory: low.end,
        }
    })?;
    memory.read_exact_volatile_from(GuestAddress(address), &mut file, size as usize)?;
    // Both lie below 4 GiB.
    kernel.header.ramdisk_image = address as u32;
    kernel.header.ramdisk_size = size as u32;
    Ok(())
}

/// The highest page where `size` bytes end below `top` and start above `bottom`.
fn initrd_place(bottom: u64, top: u64, size: u64) -> Option<u64> {
    let address = top.checked_sub(size)? & !0xfff;
    (address >= bottom).then_some(address)
}

/// Writes the command line and tells the kernel of it.
pub fn load_command_line(
    memory: &GuestMemory,
    kernel: &mut Loaded,
    line: &str,
) -> Result<(), BootError> {
    let max = layout::CMDLINE_MAX.min(match kernel.header.cmdline_size {
        0 => 255,
        size => size as usize,
    });
    if line.len() > max {
        return Err(BootError::CommandLine {
            len: line.len(),
            max,
        });
    }
    memory.write_slice(line.as_bytes(), GuestAddress(layout::CMDLINE))?;
    memory.write_obj(0u8, GuestAddress(layout::CMDLINE + line.len() as u64))?;
    kernel.header.cmd_line_ptr = layout::CMDLINE as u32;
    Ok(())
}

/// Checks that what the kernel needs to unpack itself is there.
pub fn check_fits(kernel: &Loaded, memory_size: u64) -> Result<(), BootError> {
    let low = layout::memory_ranges(memory_size).0;
    if kernel.end <= low.end {
        return Ok(());
    }
    Err(BootError::TooSmall {
        kernel_end: kernel.end,
        initrd: 0,
        memory: low.end,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The start of a bzImage that passes for one.
    pub(crate) fn bzimage_start() -> Vec<u8> {
        let mut start = vec![0; 0x1000];
        start[0x1f1] = 1; // setup sectors
        start[0x202..0x206].copy_from_slice(b"HdrS");
        start[0x206..0x208].copy_from_slice(&0x20fu16.to_le_bytes());
        start[0x211] = 1; // loaded high
        start[0x214..0x218].copy_from_slice(&0x10_0000u32.to_le_bytes());
        start[0x236] = 1; // 64-bit entry
        start[0x238..0x23c].copy_from_slice(&16u32.to_le_bytes()); // command line size
        start[0x260..0x264].copy_from_slice(&0x20_0000u32.to_le_bytes()); // init size
        start
    }

    fn file(content: &[u8]) -> tempfile::NamedTempFile {
        use std::io::Write;
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        file
    }

    #[test]
    fn kernels_are_told_from_other_files() {
        let mut elf = vec![0; 64];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        elf[0x12] = 62;
        assert_eq!(identify(&elf), Some(KernelKind::Elf));
        assert_eq!(identify(&bzimage_start()), Some(KernelKind::BzImage));
        elf[0x12] = 183; // another architecture
        assert_eq!(identify(&elf), None);
        let mut old = bzimage_start();
        old[0x236] = 0;
        assert_eq!(identify(&old), None);
        assert_eq!(identify(b""), None);
        assert_eq!(identify(b"#!/bin/sh"), None);
    }

    #[test]
    fn the_message_about_a_wrong_file_names_it() {
        let wrong = file(b"hello");
        let message = kernel_kind(wrong.path()).unwrap_err().to_string();
        assert!(
            message.contains(wrong.path().to_str().unwrap()),
            "{message}"
        );
        assert!(message.contains("bzImage"), "{message}");
    }

    #[test]
    fn a_bzimage_is_loaded_where_it_need_not_move() {
        let memory = crate::memory::create(layout::MEMORY_MIN).unwrap();
        let kernel =
            load_kernel(&memory, file(&bzimage_start()).as_file(), Path::new("k")).unwrap();
        assert_eq!(kernel.entry, layout::KERNEL + 0x200);
        assert_eq!(kernel.end, layout::KERNEL + 0x20_0000);
        check_fits(&kernel, layout::MEMORY_MIN).unwrap();
    }

    #[test]
    fn the_initrd_goes_to_the_top() {
        assert_eq!(initrd_place(0x1000, 0x10000, 0x1234), Some(0xe000));
        assert_eq!(initrd_place(0x1000, 0x10000, 0xf000), Some(0x1000));
        assert_eq!(initrd_place(0x1000, 0x10000, 0xf001), None);
        assert_eq!(initrd_place(0x1000, 0x10000, 0x10001), None);
        let memory = crate::memory::create(layout::MEMORY_MIN).unwrap();
        let mut kernel =
            load_kernel(&memory, file(&bzimage_start()).as_file(), Path::new("k")).unwrap();
        let initrd = file(b"initrd");
        load_initrd(
            &memory,
            layout::MEMORY_MIN,
            &mut kernel,
            initrd.as_file(),
            initrd.path(),
        )
        .unwrap();
        let (image, size) = (kernel.header.ramdisk_image, kernel.header.ramdisk_size);
        assert_eq!((u64::from(image), size), (layout::MEMORY_MIN - 0x1000, 6));
    }

    #[test]
    fn a_command_line_beyond_the_kernels_limit_is_refused() {
        let memory = crate::memory::create(layout::MEMORY_MIN).unwrap();
        let mut kernel =
            load_kernel(&memory, file(&bzimage_start()).as_file(), Path::new("k")).unwrap();
        load_command_line(&memory, &mut kernel, "0123456789abcdef").unwrap();
        let error = load_command_line(&memory, &mut kernel, "0123456789abcdef0").unwrap_err();
        assert!(matches!(error, BootError::CommandLine { len: 17, max: 16 }));
    }
}
