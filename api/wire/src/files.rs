//! Files that travel with an option string, so that a vendor's compiler finds what the program's
//! file system has and the worker's has not.
//!
//! An option string may be followed, after its zero, by a [`Bundle`]: files with their places, and
//! where in the options the names of folders begin. The worker puts the files into a folder of this
//! call's own, in the same places below it, and has the names begin there.

/// Most files of a bundle.
pub const MAX_FILES: usize = 2048;
/// Most bytes of a bundle's files.
pub const MAX_BYTES: usize = 16 << 20;
/// Most folders, and most names in the options.
const MAX_NAMES: usize = 4096;

/// What travels with an option string.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bundle {
    /// The program's working directory.
    pub here: Vec<u8>,
    /// Whether it is to be looked into before the folders that the options name.
    pub look_here: bool,
    /// Where names of files and folders begin in the options, in rising order, and whether they are
    /// relative.
    pub names: Vec<(usize, bool)>,
    /// Folders, perhaps with nothing in them: absolute paths without `.` and `..`.
    pub folders: Vec<Vec<u8>>,
    /// Files: their paths, which are such too, and what is in them.
    pub files: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Bundle {
    /// The bytes that follow the option string.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        put(&mut bytes, &self.here);
        bytes.push(self.look_here.into());
        put_count(&mut bytes, self.names.len());
        for (at, relative) in &self.names {
            put_count(&mut bytes, *at);
            bytes.push((*relative).into());
        }
        put_count(&mut bytes, self.folders.len());
        for folder in &self.folders {
            put(&mut bytes, folder);
        }
        put_count(&mut bytes, self.files.len());
        for (path, content) in &self.files {
            put(&mut bytes, path);
            put(&mut bytes, content);
        }
        bytes
    }

    /// The bundle that `bytes` are; `None` if they are none, or if a path could lead anywhere but
    /// down.
    pub fn read(bytes: &[u8]) -> Option<Bundle> {
        let mut rest = bytes;
        let here = take(&mut rest)?.to_vec();
        let look_here = take_flag(&mut rest)?;
        let mut bundle = Bundle {
            here,
            look_here,
            ..Bundle::default()
        };
        for _ in 0..take_count(&mut rest, MAX_NAMES)? {
            let at = take_count(&mut rest, usize::MAX)?;
            bundle.names.push((at, take_flag(&mut rest)?));
        }
        for _ in 0..take_count(&mut rest, MAX_NAMES)? {
            bundle.folders.push(take(&mut rest)?.to_vec());
        }
        for _ in 0..take_count(&mut rest, MAX_FILES)? {
            let path = take(&mut rest)?.to_vec();
            bundle.files.push((path, take(&mut rest)?.to_vec()));
        }
        let rises = bundle.names.is_sorted_by(|(a, _), (b, _)| a < b);
        let fits = rest.is_empty() && rises && bundle.paths().all(leads_down);
        fits.then_some(bundle)
    }

    fn paths(&self) -> impl Iterator<Item = &[u8]> {
        let files = self.files.iter().map(|(path, _)| path);
        let paths = files.chain(&self.folders).chain([&self.here]);
        paths.map(Vec::as_slice)
    }
}

/// Whether `path` is absolute and has no `.`, `..`, empty part or zero in it.
fn leads_down(path: &[u8]) -> bool {
    let Some(parts) = path.strip_prefix(b"/") else {
        return false;
    };
    let odd = |part: &[u8]| matches!(part, b"" | b"." | b"..") || part.contains(&0);
    parts.is_empty() || !parts.split(|byte| *byte == b'/').any(odd)
}

fn put_count(bytes: &mut Vec<u8>, count: usize) {
    bytes.extend_from_slice(&(count as u64).to_le_bytes());
}

fn put(bytes: &mut Vec<u8>, field: &[u8]) {
    put_count(bytes, field.len());
    bytes.extend_from_slice(field);
}

fn take_count(rest: &mut &[u8], most: usize) -> Option<usize> {
    let (word, after) = rest.split_first_chunk::<8>()?;
    *rest = after;
    let count = usize::try_from(u64::from_le_bytes(*word)).ok()?;
    (count <= most).then_some(count)
}

fn take_flag(rest: &mut &[u8]) -> Option<bool> {
    let (flag, after) = rest.split_first()?;
    *rest = after;
    match flag {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = take_count(rest, usize::MAX)?;
    let (field, after) = rest.split_at_checked(len)?;
    *rest = after;
    Some(field)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle() -> Bundle {
        Bundle {
            here: b"/home/me".to_vec(),
            look_here: true,
            names: vec![(3, false), (20, true)],
            folders: vec![b"/opt/include".to_vec(), b"/".to_vec()],
            files: vec![(b"/opt/include/a.h".to_vec(), b"#define A".to_vec())],
        }
    }

    #[test]
    fn a_bundle_is_read_as_it_was_written() {
        assert_eq!(Bundle::read(&bundle().to_bytes()), Some(bundle()));
        let empty = Bundle {
            here: b"/".to_vec(),
            ..Bundle::default()
        };
        assert_eq!(Bundle::read(&empty.to_bytes()), Some(empty));
    }

    #[test]
    fn no_part_of_a_bundle_is_one() {
        let bytes = bundle().to_bytes();
        for len in 0..bytes.len() {
            assert_eq!(Bundle::read(&bytes[..len]), None, "{len}");
        }
        let mut longer = bytes;
        longer.push(0);
        assert_eq!(Bundle::read(&longer), None);
    }

    #[test]
    fn paths_lead_down_only() {
        for path in [
            "",
            "a",
            "/a/../../b",
            "/..",
            "/a//b",
            "/a/./b",
            "/a/",
            "/a\0b",
        ] {
            let mut odd = bundle();
            odd.files[0].0 = path.into();
            assert_eq!(Bundle::read(&odd.to_bytes()), None, "{path:?}");
            let mut odd = bundle();
            odd.folders[0] = path.into();
            assert_eq!(Bundle::read(&odd.to_bytes()), None, "{path:?}");
        }
        let mut odd = bundle();
        odd.names = vec![(5, true), (5, true)];
        assert_eq!(Bundle::read(&odd.to_bytes()), None);
        // A count that no memory could hold is found out before anything is taken for it.
        let mut odd = bundle().to_bytes();
        let at = 8 + 8 + 1;
        odd[at..at + 8].fill(0xff);
        assert_eq!(Bundle::read(&odd), None);
    }
}
