//! Files of the client's that a vendor's compiler looks for while one call is made.
//!
//! ```text
//! SITE/0123456789abcdef        a tree like the client's, with these files only
//! SITE/0123456789abcdef.cwd    links to the client's working directory in it
//! SITE/0123456789abcdef.here   likewise, as a folder that is looked into first
//! ```
//!
//! The name is made of the files, so that equal calls are equal to the vendor's own caches. What
//! stands before a name in an option string, or in what the compiler says, is taken away again before
//! the client sees it: it sees its own names.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use weir_wire::files::Bundle;

/// Digits of a tree's name.
const DIGITS: usize = 16;
const CWD: &str = ".cwd";
const HERE: &str = ".here";

/// Where the trees are.
static SITE: OnceLock<PathBuf> = OnceLock::new();
/// How many calls use each tree.
static USES: Mutex<Option<HashMap<u64, usize>>> = Mutex::new(None);

/// Says once, before the first call, where the trees are to be: in a folder that nobody but this
/// client's worker uses.
pub fn set_site(folder: PathBuf) {
    let _ = SITE.set(folder);
}

fn site() -> &'static Path {
    SITE.get_or_init(|| std::env::temp_dir().join(format!("weir-{}", std::process::id())))
}

/// A tree, for as long as a call needs it.
#[derive(Debug)]
pub struct Tree {
    number: u64,
}

impl Tree {
    /// Makes the tree of `bundle`, or finds it made.
    pub fn new(bundle: &Bundle) -> io::Result<Tree> {
        let mut hasher = DefaultHasher::new();
        bundle.to_bytes().hash(&mut hasher);
        let tree = Tree {
            number: hasher.finish(),
        };
        let mut uses = USES.lock().unwrap_or_else(PoisonError::into_inner);
        let uses = uses.get_or_insert_default().entry(tree.number).or_default();
        if *uses == 0
            && let Err(error) = tree.make(bundle)
        {
            tree.remove();
            // (It is not used, so dropping it would count wrong.)
            std::mem::forget(tree);
            return Err(error);
        }
        *uses += 1;
        Ok(tree)
    }

    fn path(&self, ending: &str) -> PathBuf {
        site().join(format!("{:0DIGITS$x}{ending}", self.number))
    }

    fn make(&self, bundle: &Bundle) -> io::Result<()> {
        self.remove(); // what a worker before this one may have left
        let root = self.path("");
        let below = |path: &[u8]| root.join(OsStr::from_bytes(path.get(1..).unwrap_or_default()));
        let here = below(&bundle.here);
        std::fs::create_dir_all(&here)?;
        for ending in [CWD, HERE] {
            std::os::unix::fs::symlink(&here, self.path(ending))?;
        }
        for folder in &bundle.folders {
            std::fs::create_dir_all(below(folder))?;
        }
        for (path, content) in &bundle.files {
            let path = below(path);
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            std::fs::write(path, content)?;
        }
        Ok(())
    }

    fn remove(&self) {
        let _ = std::fs::remove_dir_all(self.path(""));
        for ending in [CWD, HERE] {
            let _ = std::fs::remove_file(self.path(ending));
        }
    }

    /// `options` with the names that `bundle` says beginning in the tree. `None` if it says of a
    /// place that is not there.
    pub fn redirect(&self, options: &[u8], bundle: &Bundle) -> Option<Vec<u8>> {
        let mut redirected = Vec::new();
        if bundle.look_here {
            redirected.extend_from_slice(b"-I ");
            redirected.extend_from_slice(self.path(HERE).as_os_str().as_bytes());
            redirected.extend_from_slice(b"/.");
            if !options.is_empty() {
                redirected.push(b' ');
            }
        }
        let mut done = 0;
        for (at, relative) in &bundle.names {
            redirected.extend_from_slice(options.get(done..*at)?);
            done = *at;
            let begin = self.path(if *relative { CWD } else { "" });
            redirected.extend_from_slice(begin.as_os_str().as_bytes());
            if *relative {
                redirected.push(b'/');
            }
        }
        redirected.extend_from_slice(options.get(done..)?);
        Some(redirected)
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let mut uses = USES.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(counts) = uses.as_mut() else { return };
        let left = counts.get(&self.number).map_or(0, |uses| uses - 1);
        if left > 0 {
            counts.insert(self.number, left);
            return;
        }
        counts.remove(&self.number);
        self.remove();
    }
}

/// `text` as the client would know it: without what [`Tree::redirect`] put in.
pub fn restore(text: &[u8]) -> Vec<u8> {
    let site = site().as_os_str().as_bytes();
    let mut restored = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = find(rest, site) {
        let after = &rest[at + site.len()..];
        let Some((skipped, is_here)) = name(after) else {
            let (kept, left) = rest.split_at(at + site.len());
            restored.extend_from_slice(kept);
            rest = left;
            continue;
        };
        restored.extend_from_slice(&rest[..at]);
        rest = &after[skipped..];
        if is_here && restored.ends_with(b"-I ") && rest.starts_with(b".") {
            restored.truncate(restored.len() - 3);
            rest = rest[1..].strip_prefix(b" ").unwrap_or(&rest[1..]);
        }
    }
    restored.extend_from_slice(rest);
    restored
}

/// Bytes of a tree's name at the beginning of `text`, with the slash before it, and whether it is
/// that of the folder that is looked into first.
fn name(text: &[u8]) -> Option<(usize, bool)> {
    let digits = text.strip_prefix(b"/")?.get(..DIGITS)?;
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let rest = &text[1 + DIGITS..];
    for (ending, is_here) in [(CWD, false), (HERE, true)] {
        if let Some(rest) = rest.strip_prefix(ending.as_bytes()) {
            let slash = usize::from(rest.starts_with(b"/"));
            return Some((1 + DIGITS + ending.len() + slash, is_here));
        }
    }
    Some((1 + DIGITS, false))
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    let mut windows = text.windows(wanted.len().max(1));
    windows.position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle(look_here: bool, names: &[(usize, bool)], content: &str) -> Bundle {
        Bundle {
            here: b"/home/me".to_vec(),
            look_here,
            names: names.to_vec(),
            folders: vec![b"/opt/empty".to_vec()],
            files: vec![(b"/opt/include/a.h".to_vec(), content.into())],
        }
    }

    #[test]
    fn a_tree_is_there_as_long_as_somebody_uses_it() {
        let bundle = bundle(false, &[], "first");
        let (one, two) = (Tree::new(&bundle).unwrap(), Tree::new(&bundle).unwrap());
        let file = one.path("").join("opt/include/a.h");
        assert_eq!(std::fs::read(&file).unwrap(), b"first");
        assert!(one.path("").join("opt/empty").is_dir());
        assert!(one.path(CWD).is_dir(), "the working directory is a folder");
        drop(one);
        assert!(file.exists());
        let (root, link) = (two.path(""), two.path(CWD));
        drop(two);
        assert!(!root.exists() && std::fs::symlink_metadata(link).is_err());
    }

    #[test]
    fn options_are_restored_to_the_byte() {
        for (options, names) in [
            ("-I /opt/include -DX -I sub", &[(3, false), (23, true)][..]),
            ("-I. -I \"/a b\"", &[(2, true), (8, false)]),
            ("", &[]),
            ("-I .", &[(3, true)]),
        ] {
            for here in [false, true] {
                let bundle = bundle(here, names, "x");
                let tree = Tree::new(&bundle).unwrap();
                let redirected = tree.redirect(options.as_bytes(), &bundle).unwrap();
                assert_eq!(redirected.is_empty(), options.is_empty() && !here);
                let restored = restore(&redirected);
                assert_eq!(String::from_utf8(restored).unwrap(), options, "{here}");
            }
        }
    }

    #[test]
    fn what_the_compiler_says_names_the_client_s_files() {
        let tree = Tree { number: 0xabc };
        let (root, cwd) = (tree.path(""), tree.path(CWD));
        let said = format!("{0}/a.h:1: in {1}/sub/b.h", root.display(), cwd.display());
        assert_eq!(restore(said.as_bytes()), b"/a.h:1: in sub/b.h");
        let other = format!("{}/other", site().display());
        assert_eq!(restore(other.as_bytes()), other.as_bytes());
        std::mem::forget(tree);
    }

    #[test]
    fn names_outside_of_the_options_are_refused() {
        let bundle = bundle(false, &[(5, true)], "y");
        let tree = Tree::new(&bundle).unwrap();
        assert!(tree.redirect(b"-I a", &bundle).is_none());
    }
}
