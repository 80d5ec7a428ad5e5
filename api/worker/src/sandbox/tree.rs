//! The worker's own file tree: an empty one, with what an accelerator needs put into it, read-only.
//!
//! ```text
//! /             tmpfs, read-only
//!   usr lib …   the host's libraries and programs, read-only
//!   sys …       descriptions of the machine, read-only
//!   dev         null, zero, random and the accelerators' devices
//!   dev/shm     tmpfs of its own
//!   proc        of its own process namespace
//!   cache       the tenant's cache: all that can be written and stays
//! ```

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, UnmountFlags,
};

use super::done;

/// Where the cache is in the tree.
pub(super) const CACHE: &str = "/cache";
/// Small shared memory of the worker's processes.
pub(super) const SHARED: &str = "/dev/shm";
/// Most bytes there.
const SHARED_SIZE: &str = "67108864";
/// Where the tree is put together: any folder that every host has. It is hidden for this process
/// only, and only until the tree has become its root.
const SITE: &str = "/usr";

/// One thing that is put into the tree.
enum Piece {
    /// A mount, made beforehand, and whether its place is a folder.
    Mount(OwnedFd, bool),
    /// A symbolic link, and where to.
    Link(PathBuf),
}

/// Makes the tree and moves into it. `cache` becomes [`CACHE`]. This process must have mount and
/// process namespaces of its own.
pub(super) fn enter(cache: &Path, read: &[PathBuf], devices: &[PathBuf]) -> io::Result<()> {
    rustix::mount::mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )?;
    let mut pieces: Vec<(PathBuf, Piece)> = Vec::new();
    for path in read {
        if let Some(piece) = piece(path, MountAttrFlags::MOUNT_ATTR_RDONLY | quiet())? {
            pieces.push((path.clone(), piece));
        }
    }
    let device = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    for path in devices {
        pieces.extend(piece(path, device)?.map(|piece| (path.clone(), piece)));
    }
    let cache = copy(cache, quiet())?;
    pieces.push((CACHE.into(), Piece::Mount(cache, true)));
    let shared = file_system("tmpfs", &[("size", SHARED_SIZE), ("mode", "1777")])?;
    pieces.push((SHARED.into(), Piece::Mount(shared, true)));
    match file_system("proc", &[]) {
        Ok(proc) => pieces.push(("/proc".into(), Piece::Mount(proc, true))),
        // Where the host itself hides parts of /proc, as some containers do.
        Err(error) => {
            log::debug!("no /proc of its own for this worker: {error}");
            for path in [
                "/proc/cpuinfo",
                "/proc/meminfo",
                "/proc/stat",
                "/proc/version",
            ] {
                let path = PathBuf::from(path);
                let flags = MountAttrFlags::MOUNT_ATTR_RDONLY | quiet();
                pieces.extend(piece(&path, flags)?.map(|piece| (path, piece)));
            }
        }
    }
    // Shorter paths first: one may lie below another.
    pieces.sort_by(|(a, _), (b, _)| a.cmp(b));

    let root = file_system("tmpfs", &[("size", "1048576"), ("mode", "0755")])?;
    attach(&root, Path::new(SITE))?;
    for (path, piece) in pieces {
        place(&path, piece)?;
    }
    set_attributes(&root, MountAttrFlags::MOUNT_ATTR_RDONLY | quiet(), false)?;
    std::env::set_current_dir(SITE)?;
    rustix::process::pivot_root(".", ".")?;
    // The old root lies over the new one now.
    rustix::mount::unmount(".", UnmountFlags::DETACH)?;
    std::env::set_current_dir("/")
}

fn quiet() -> MountAttrFlags {
    MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV
}

/// What is at `path` on the host, for the same place in the tree; `None` if nothing is there.
fn piece(path: &Path, attributes: MountAttrFlags) -> io::Result<Option<Piece>> {
    let Ok(found) = fs::symlink_metadata(path) else {
        return Ok(None);
    };
    if found.is_symlink() {
        return Ok(Some(Piece::Link(fs::read_link(path)?)));
    }
    let mount = copy(path, attributes)?;
    Ok(Some(Piece::Mount(mount, found.is_dir())))
}

/// A mount of what is at `path`, attached nowhere yet.
fn copy(path: &Path, attributes: MountAttrFlags) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE;
    let mount = rustix::mount::open_tree(CWD, path, flags)?;
    set_attributes(&mount, attributes, true)?;
    Ok(mount)
}

/// A new file system, attached nowhere yet.
fn file_system(kind: &str, options: &[(&str, &str)]) -> io::Result<OwnedFd> {
    let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        rustix::mount::fsconfig_set_string(context.as_fd(), *key, *value)?;
    }
    rustix::mount::fsconfig_create(context.as_fd())?;
    let flags = FsMountFlags::FSMOUNT_CLOEXEC;
    let attributes = quiet() | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    Ok(rustix::mount::fsmount(context.as_fd(), flags, attributes)?)
}

fn set_attributes(mount: &OwnedFd, add: MountAttrFlags, below: bool) -> io::Result<()> {
    #[repr(C)]
    struct MountAttr {
        set: u64,
        clear: u64,
        propagation: u64,
        user_namespace: u64,
    }
    let attributes = MountAttr {
        set: add.bits().into(),
        clear: 0,
        propagation: 0,
        user_namespace: 0,
    };
    let flags = libc::AT_EMPTY_PATH | if below { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is an empty string, and the structure is as long as is said; both are only
    // read.
    done(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<MountAttr>(),
        )
    })
}

fn attach(mount: &OwnedFd, at: &Path) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    Ok(rustix::mount::move_mount(
        mount.as_fd(),
        "",
        CWD,
        at,
        flags,
    )?)
}

/// Puts `piece` into the tree at `path`, unless it is there already as a part of another piece.
fn place(path: &Path, piece: Piece) -> io::Result<()> {
    let at = Path::new(SITE).join(path.strip_prefix("/").unwrap_or(path));
    if let Some(parent) = at.parent() {
        match fs::create_dir_all(parent) {
            // A part of something read-only, which has no such folder.
            Err(error) if error.raw_os_error() == Some(libc::EROFS) => return Ok(()),
            other => other?,
        }
    }
    let exists = fs::symlink_metadata(&at).is_ok();
    match piece {
        Piece::Link(_) if exists => Ok(()),
        Piece::Link(target) => std::os::unix::fs::symlink(target, &at),
        Piece::Mount(mount, folder) => {
            if !exists && folder {
                fs::create_dir(&at)?;
            } else if !exists {
                let mode = Mode::RUSR | Mode::WUSR;
                let name = CString::new(at.as_os_str().as_bytes())?;
                rustix::fs::mknodat(CWD, name, rustix::fs::FileType::RegularFile, mode, 0)?;
            }
            attach(&mount, &at)
        }
    }
}
