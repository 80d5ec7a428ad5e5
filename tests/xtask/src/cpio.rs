//! A writer for initramfs archives: the "newc" cpio format of the kernel's
//! `Documentation/driver-api/early-userspace/buffer-format.rst`. Written here, since it makes device
//! nodes and root-owned files without being root.

use std::io::{self, Write};
use std::path::Path;

const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const CHARACTER_DEVICE: u32 = 0o020_000;

/// An archive under construction.
pub struct Archive<W: Write> {
    sink: W,
    inode: u32,
    folders: Vec<String>,
}

impl<W: Write> Archive<W> {
    /// Starts an archive that is written to `sink`.
    pub fn new(sink: W) -> Self {
        Self {
            sink,
            inode: 0,
            folders: Vec::new(),
        }
    }

    /// Adds the folder `path`, and those above it, unless they are there already.
    pub fn folder(&mut self, path: &str) -> io::Result<()> {
        if path.is_empty() || self.folders.iter().any(|known| known == path) {
            return Ok(());
        }
        self.parents(path)?;
        self.folders.push(path.to_owned());
        self.entry(path, DIRECTORY | 0o755, (0, 0), &[])
    }

    /// Adds a file with the permission bits `mode`.
    pub fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        self.parents(path)?;
        self.entry(path, REGULAR | mode, (0, 0), content)
    }

    /// Adds a copy of the host's file `source`.
    pub fn copy(&mut self, path: &str, mode: u32, source: &Path) -> io::Result<()> {
        let content = std::fs::read(source).map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", source.display()))
        })?;
        self.file(path, mode, &content)
    }

    /// Adds the files below the host's folder `source`, in the order of their names.
    pub fn tree(&mut self, path: &str, source: &Path) -> io::Result<()> {
        let mut entries = std::fs::read_dir(source)?.collect::<io::Result<Vec<_>>>()?;
        entries.sort_by_key(|entry| entry.file_name());
        for entry in entries {
            let to = format!("{path}/{}", entry.file_name().to_string_lossy());
            if entry.file_type()?.is_dir() {
                self.tree(&to, &entry.path())?;
            } else {
                self.copy(&to, 0o644, &entry.path())?;
            }
        }
        Ok(())
    }

    /// Adds a character device node.
    pub fn device(&mut self, path: &str, major: u32, minor: u32) -> io::Result<()> {
        self.parents(path)?;
        self.entry(path, CHARACTER_DEVICE | 0o600, (major, minor), &[])
    }

    /// Writes the trailer and returns the sink.
    pub fn finish(mut self) -> io::Result<W> {
        self.entry("TRAILER!!!", 0, (0, 0), &[])?;
        self.sink.flush()?;
        Ok(self.sink)
    }

    fn parents(&mut self, path: &str) -> io::Result<()> {
        match path.rsplit_once('/') {
            Some((parent, _)) => self.folder(parent),
            None => Ok(()),
        }
    }

    fn entry(&mut self, path: &str, mode: u32, device: (u32, u32), data: &[u8]) -> io::Result<()> {
        self.inode += 1;
        let size = u32::try_from(data.len())
            .map_err(|_| io::Error::other(format!("{path} is too large for an initramfs")))?;
        let name_size = u32::try_from(path.len() + 1)
            .map_err(|_| io::Error::other("a path is too long for an initramfs"))?;
        let links = if mode & DIRECTORY == DIRECTORY { 2 } else { 1 };
        // Fields: inode, mode, uid, gid, links, mtime, size, device, device the node stands for,
        // length of the name, checksum (unused in this format).
        let fields = [
            self.inode, mode, 0, 0, links, 0, size, 0, 0, device.0, device.1, name_size, 0,
        ];
        let mut header = String::from("070701");
        for field in fields {
            header.push_str(&format!("{field:08X}"));
        }
        self.sink.write_all(header.as_bytes())?;
        self.sink.write_all(path.as_bytes())?;
        self.sink.write_all(&[0])?;
        self.pad(header.len() + path.len() + 1)?;
        self.sink.write_all(data)?;
        self.pad(data.len())
    }

    fn pad(&mut self, written: usize) -> io::Result<()> {
        self.sink.write_all(&[0; 3][..written.wrapping_neg() % 4])
    }
}

#[cfg(test)]
mod tests {
    use super::Archive;

    #[test]
    fn folders_are_added_once_and_before_their_files() {
        let mut archive = Archive::new(Vec::new());
        archive.file("a/b/one", 0o644, b"1").unwrap();
        archive.file("a/b/two", 0o644, b"22").unwrap();
        let bytes = archive.finish().unwrap();

        let text = String::from_utf8(bytes.clone()).unwrap();
        let names: Vec<_> = ["a\0", "a/b\0", "a/b/one\0", "a/b/two\0", "TRAILER!!!\0"]
            .iter()
            .map(|name| text.find(name).unwrap())
            .collect();
        assert!(names.is_sorted());
        assert_eq!(text.matches("070701").count(), 5);
        assert_eq!(bytes.len() % 4, 0);
    }
}
