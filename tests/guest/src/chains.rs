//! Malformed descriptor chains: a virtio driver in user space that drives the device to its face.
//!
//! It takes the PCI function from its driver, maps its registers through sysfs, and places queues in
//! pages whose physical addresses it knows. Buffers that a device may write are its own pages or no
//! memory at all, so that nothing but the device can suffer.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use fastrand::Rng;
use rustix::mm::{MapFlags, ProtFlags};

const PAGE: u64 = 4096;
/// Pages for rings and buffers.
const PAGES: usize = 64;
/// Entries of each queue used here.
const QUEUE_SIZE: u16 = 64;

// Common configuration structure (virtio 1.2, 4.1.4.3).
const DRIVER_FEATURE_SELECT: u64 = 0x08;
const DRIVER_FEATURE: u64 = 0x0c;
const DEVICE_STATUS: u64 = 0x14;
const QUEUE_SELECT: u64 = 0x16;
const QUEUE_SIZE_AT: u64 = 0x18;
const QUEUE_ENABLE: u64 = 0x1c;
const QUEUE_NOTIFY_OFF: u64 = 0x1e;
const QUEUE_DESC: u64 = 0x20;
const QUEUE_DRIVER: u64 = 0x28;
const QUEUE_DEVICE: u64 = 0x30;

const ACKNOWLEDGE_AND_DRIVER: u8 = 1 | 2;
const FEATURES_OK: u8 = 8;
const DRIVER_OK: u8 = 4;
const NEEDS_RESET: u8 = 64;

/// Memory that the device sees too: registers or pages.
struct Mapping {
    base: *mut u8,
    len: u64,
}

impl Mapping {
    fn registers(file: impl AsFd, len: u64) -> Result<Mapping> {
        let (prot, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        // SAFETY: a new mapping at an address of the kernel's choice.
        let base =
            unsafe { rustix::mm::mmap(std::ptr::null_mut(), len as usize, prot, flags, file, 0) };
        Ok(Mapping {
            base: base.context("mapping the device's registers")?.cast(),
            len,
        })
    }

    fn pages(count: usize) -> Result<Mapping> {
        let len = count * PAGE as usize;
        let flags = MapFlags::PRIVATE | MapFlags::LOCKED | MapFlags::POPULATE;
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let base = unsafe { rustix::mm::mmap_anonymous(std::ptr::null_mut(), len, prot, flags) };
        let base: *mut u8 = base.context("locking pages")?.cast();
        Ok(Mapping {
            base,
            len: len as u64,
        })
    }

    fn at<T>(&self, offset: u64) -> *mut T {
        assert!(
            offset + size_of::<T>() as u64 <= self.len
                && offset.is_multiple_of(size_of::<T>() as u64)
        );
        // SAFETY: just found to lie inside of the mapping.
        unsafe { self.base.add(offset as usize).cast() }
    }

    fn read<T>(&self, offset: u64) -> T {
        // SAFETY: `at` checks range and alignment; the mapping lives as long as the program.
        unsafe { self.at::<T>(offset).read_volatile() }
    }

    fn write<T>(&self, offset: u64, value: T) {
        // SAFETY: as in `read`.
        unsafe { self.at::<T>(offset).write_volatile(value) }
    }
}

/// One structure of registers that a vendor capability points to.
struct Registers {
    mapping: Mapping,
    offset: u64,
}

impl Registers {
    fn read<T>(&self, at: u64) -> T {
        self.mapping.read(self.offset + at)
    }

    fn write<T>(&self, at: u64, value: T) {
        self.mapping.write(self.offset + at, value);
    }
}

struct Device {
    common: Registers,
    notify: Registers,
    notify_multiplier: u32,
    pages: Mapping,
    /// Physical address of each of `pages`.
    physical: Vec<u64>,
}

/// Where the rings of queue `q` lie, by page: descriptors, available ring, used ring.
fn ring_pages(queue: u16) -> [usize; 3] {
    let first = 3 * usize::from(queue);
    [first, first + 1, first + 2]
}

/// First page that is a buffer rather than a ring.
const BUFFERS: usize = 6;

impl Device {
    fn open(function: &Path) -> Result<Device> {
        fs::write(function.join("enable"), "1").ok();
        let config = OpenOptions::new()
            .read(true)
            .write(true)
            .open(function.join("config"))?;
        let mut space = [0; 256];
        config.read_exact_at(&mut space, 0)?;
        // Memory decoding and bus mastering.
        config.write_all_at(&[space[4] | 0x06], 4)?;
        let (mut common, mut notify, mut multiplier) = (None, None, 0);
        let mut at = usize::from(space[0x34]);
        while at != 0 && at + 20 <= space.len() {
            let long = |i: usize| u32::from_le_bytes(space[at + i..at + i + 4].try_into().unwrap());
            if space[at] == 0x09 {
                let structure = (usize::from(space[at + 4]), u64::from(long(8)));
                match space[at + 3] {
                    1 => common = Some(structure),
                    2 => {
                        notify = Some(structure);
                        multiplier = long(16);
                    }
                    _ => {}
                }
            }
            at = usize::from(space[at + 1]);
        }
        let registers = |found: Option<(usize, u64)>| -> Result<Registers> {
            let (bar, offset) = found.context("the device lacks a register structure")?;
            let path = function.join(format!("resource{bar}"));
            let file = OpenOptions::new().read(true).write(true).open(&path)?;
            let len = file.metadata()?.len();
            Ok(Registers {
                mapping: Mapping::registers(&file, len)?,
                offset,
            })
        };
        let pages = Mapping::pages(PAGES)?;
        let physical = physical_addresses(&pages)?;
        Ok(Device {
            common: registers(common)?,
            notify: registers(notify)?,
            notify_multiplier: multiplier,
            pages,
            physical,
        })
    }

    /// Resets the device and brings both queues up.
    fn start(&self) -> Result<()> {
        let status = |value: u8| self.common.write(DEVICE_STATUS, value);
        status(0);
        ensure!(
            self.common.read::<u8>(DEVICE_STATUS) == 0,
            "the device does not reset"
        );
        status(ACKNOWLEDGE_AND_DRIVER);
        for (select, features) in [(0u32, 0u32), (1, 1)] {
            self.common.write(DRIVER_FEATURE_SELECT, select);
            self.common.write(DRIVER_FEATURE, features);
        }
        status(ACKNOWLEDGE_AND_DRIVER | FEATURES_OK);
        for queue in 0..2 {
            let [desc, avail, used] = ring_pages(queue);
            for page in [desc, avail, used] {
                (0..PAGE / 8).for_each(|i| self.pages.write(page as u64 * PAGE + 8 * i, 0u64));
            }
            self.common.write(QUEUE_SELECT, queue);
            self.common.write(QUEUE_SIZE_AT, QUEUE_SIZE);
            for (register, page) in [
                (QUEUE_DESC, desc),
                (QUEUE_DRIVER, avail),
                (QUEUE_DEVICE, used),
            ] {
                let address = self.physical[page];
                self.common.write(register, address as u32);
                self.common.write(register + 4, (address >> 32) as u32);
            }
            self.common.write(QUEUE_ENABLE, 1u16);
        }
        status(ACKNOWLEDGE_AND_DRIVER | FEATURES_OK | DRIVER_OK);
        Ok(())
    }

    fn needs_reset(&self) -> bool {
        self.common.read::<u8>(DEVICE_STATUS) & NEEDS_RESET != 0
    }

    fn kick(&self, queue: u16) {
        self.common.write(QUEUE_SELECT, queue);
        let offset = u64::from(self.common.read::<u16>(QUEUE_NOTIFY_OFF));
        self.notify
            .write(offset * u64::from(self.notify_multiplier), queue);
    }

    /// An address that is the device's to touch: a buffer of ours, or nobody's.
    fn address(&self, rng: &mut Rng) -> u64 {
        let buffer = self.physical[rng.usize(BUFFERS..PAGES)];
        match rng.u8(..8) {
            0 => u64::MAX - rng.u64(..64),
            1 => 0xffff_ffff_f000,
            2 => 0xfed0_0000 + rng.u64(..4096),
            3 => buffer + rng.u64(..PAGE),
            _ => buffer,
        }
    }

    /// Writes one random descriptor table, and announces `announced` heads of it.
    fn abuse(&self, queue: u16, index: &mut u16, announced: u16, rng: &mut Rng) {
        let [desc, avail, _] = ring_pages(queue);
        for i in 0..u64::from(QUEUE_SIZE) {
            let at = desc as u64 * PAGE + 16 * i;
            let address = self.address(rng);
            // Never more than the buffer page holds, unless the address is nobody's: a device that
            // believed a length must not get at the rest of this machine.
            let ours = self.physical.contains(&(address & !(PAGE - 1)));
            let most = if ours {
                PAGE - address % PAGE
            } else {
                u64::from(u32::MAX)
            };
            let len = match rng.u8(..4) {
                0 => 0,
                1 => most,
                _ => rng.u64(..most.min(64) + 1),
            };
            let flags = match rng.u8(..16) {
                0 => rng.u16(..),
                1 => 4,
                n => u16::from(n) & 3,
            };
            // A device that writes where it may not is what is looked for; an indirect table that
            // lies in a buffer may point anywhere, so the buffers hold addresses of ours only.
            self.pages.write(at, address);
            self.pages.write(at + 8, len as u32);
            self.pages.write(at + 12, flags);
            self.pages.write(
                at + 14,
                if rng.u8(..8) == 0 {
                    rng.u16(..)
                } else {
                    rng.u16(..64)
                },
            );
        }
        self.fill_buffers(rng);
        for _ in 0..announced {
            let entry = avail as u64 * PAGE + 4 + 2 * u64::from(*index % QUEUE_SIZE);
            let head = if rng.u8(..16) == 0 {
                rng.u16(..)
            } else {
                rng.u16(..QUEUE_SIZE)
            };
            self.pages.write(entry, head);
            *index = index.wrapping_add(1);
        }
        if rng.u8(..64) == 0 {
            *index = index.wrapping_add(rng.u16(..));
        }
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
        self.pages.write(avail as u64 * PAGE + 2, *index);
        self.kick(queue);
    }

    /// Fills a few buffers with requests that are almost right, or with indirect descriptors.
    fn fill_buffers(&self, rng: &mut Rng) {
        for _ in 0..4 {
            let page = rng.usize(BUFFERS..PAGES) as u64 * PAGE;
            if rng.bool() {
                for i in 0..8 {
                    self.pages
                        .write(page + 16 * i, self.address(rng) & !(PAGE - 1));
                    self.pages.write(page + 16 * i + 8, rng.u32(..PAGE as u32));
                    self.pages.write(page + 16 * i + 12, rng.u16(..8));
                    self.pages.write(page + 16 * i + 14, rng.u16(..10));
                }
            } else {
                let words = [
                    rng.u32(..4),
                    rng.u32(..4),
                    rng.u32(..),
                    rng.u32(..),
                    rng.u32(..64),
                ];
                for (i, word) in words.into_iter().enumerate() {
                    self.pages.write(page + 4 * i as u64, word);
                }
            }
        }
    }
}

/// Asks the kernel where each page lies.
fn physical_addresses(pages: &Mapping) -> Result<Vec<u64>> {
    fs::write("/proc/sys/vm/compact_unevictable_allowed", "0").ok();
    let map = File::open("/proc/self/pagemap").context("opening /proc/self/pagemap")?;
    let first = pages.base as u64 / PAGE;
    (0..pages.len / PAGE)
        .map(|i| {
            let mut entry = [0; 8];
            map.read_exact_at(&mut entry, (first + i) * 8)?;
            let frame = u64::from_le_bytes(entry) & ((1 << 55) - 1);
            ensure!(
                frame != 0,
                "the kernel does not tell physical addresses; run this as root"
            );
            Ok(frame * PAGE)
        })
        .collect()
}

/// The accelerator's PCI function.
fn find() -> Result<PathBuf> {
    for entry in fs::read_dir("/sys/bus/pci/devices")? {
        let path = entry?.path();
        let is = |file: &str, id: &str| {
            fs::read_to_string(path.join(file)).is_ok_and(|text| text.trim() == id)
        };
        if is("vendor", "0x1af4") && is("device", "0x107f") {
            return Ok(path);
        }
    }
    bail!("this machine has no accelerator device")
}

/// Feeds the device `count` chains, then gives it back to its driver.
pub fn run(count: u64, seed: u64) -> Result<()> {
    let function = find()?;
    let name = function
        .file_name()
        .context("a device has a name")?
        .to_owned();
    let tell_driver = |file: &str| -> Result<()> {
        let path = Path::new("/sys/bus/pci/drivers/virtio-pci").join(file);
        let mut file = OpenOptions::new().write(true).open(&path)?;
        file.write_all(name.as_encoded_bytes())
            .with_context(|| format!("writing {path:?}"))
    };
    tell_driver("unbind")?;
    let device = Device::open(&function)?;
    let mut rng = Rng::with_seed(seed);
    let (mut chains, mut resets, mut next_report) = (0u64, 0u64, 0);
    let mut index = [0u16; 2];
    device.start()?;
    while chains < count {
        if device.needs_reset() {
            device.start()?;
            index = [0; 2];
            resets += 1;
        }
        let queue = rng.u16(..2);
        let announced = rng.u16(1..QUEUE_SIZE);
        device.abuse(queue, &mut index[usize::from(queue)], announced, &mut rng);
        chains += u64::from(announced);
        if chains >= next_report {
            println!("abuse: {chains} of {count} chains, {resets} resets");
            next_report += 10_000;
        }
    }
    device.common.write(DEVICE_STATUS, 0u8);
    drop(device);
    tell_driver("bind")?;
    println!("abuse: {chains} chains, {resets} resets asked for by the device");
    Ok(())
}
