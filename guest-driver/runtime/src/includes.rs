//! Files that source text includes. The compiler is where the accelerator is, and does not see this
//! file system; so what it will look for goes along with the call that compiles.
//!
//! When a program gives source text, the names in it are kept with the new object. When it compiles,
//! every place where the compiler could find one of them is looked at, and what is there is taken
//! along, also for what that includes in turn. Which of several it is, the compiler decides. What is
//! nowhere to be found, it will not find either, and says so.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use weir_wire::files::{Bundle, MAX_BYTES, MAX_FILES};

use crate::objects::{Object, Objects};

/// Most names that one text can have.
const MAX_NAMES: usize = 4096;

/// Options that name a folder, with it or before it.
const FOLDER_OPTIONS: [&[u8]; 4] = [b"-I", b"-isystem", b"-iquote", b"-idirafter"];
/// The option that names a file which is included before the text.
const FILE_OPTION: &[u8] = b"-include";

/// The names that a text includes, kept with the object that is made of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names(Vec<Vec<u8>>);

impl Names {
    /// The names in `text`, and those that it defines a name for, if it includes anything by such.
    /// Comments and conditions are not looked at: rather too many than too few.
    pub fn new(text: &[u8]) -> Names {
        let mut names = Names::default();
        let mut defined = Vec::new();
        let mut by_macro = false;
        for line in text.split(|byte| *byte == b'\n') {
            let Some(directive) = line.trim_ascii_start().strip_prefix(b"#") else {
                continue;
            };
            let directive = directive.trim_ascii_start();
            if let Some(operand) = directive
                .strip_prefix(b"include_next")
                .or_else(|| directive.strip_prefix(b"include"))
            {
                match named(operand.trim_ascii_start()) {
                    Some(name) => names.add(name),
                    None => by_macro = true,
                }
            } else if let Some(definition) = directive.strip_prefix(b"define") {
                let definition = definition.trim_ascii();
                let value = definition.iter().position(u8::is_ascii_whitespace);
                let value = value.map(|at| definition[at..].trim_ascii_start());
                defined.extend(value.and_then(named));
            } else {
                names.add_queried(directive);
            }
        }
        if by_macro {
            for name in defined {
                names.add(name);
            }
        }
        names
    }

    fn add(&mut self, name: &[u8]) {
        if self.0.len() < MAX_NAMES && !self.0.iter().any(|known| known == name) {
            self.0.push(name.to_vec());
        }
    }

    /// The names that a condition asks for.
    fn add_queried(&mut self, mut condition: &[u8]) {
        const QUERY: &[u8] = b"__has_include";
        while let Some(at) = condition
            .windows(QUERY.len())
            .position(|part| part == QUERY)
        {
            condition = &condition[at + QUERY.len()..];
            let operand = condition.trim_ascii_start().strip_prefix(b"(");
            if let Some(name) = operand.and_then(|operand| named(operand.trim_ascii_start())) {
                self.add(name);
            }
        }
    }

    /// Keeps the names of `text` with `object`, if there are any.
    pub fn keep(text: &[u8], object: &Object) {
        let names = Names::new(text);
        if !names.0.is_empty() {
            *object.extra() = Some(Box::new(names));
        }
    }
}

/// What stands between quotes or angle brackets at the beginning of `operand`.
fn named(operand: &[u8]) -> Option<&[u8]> {
    let (first, rest) = operand.split_first()?;
    let end = match first {
        b'"' => b'"',
        b'<' => b'>',
        _ => return None,
    };
    let len = rest.iter().position(|byte| *byte == end)?;
    (len > 0).then(|| &rest[..len])
}

/// The names that the texts of several objects include.
#[derive(Debug)]
pub struct Includes<'a> {
    objects: &'a Objects,
    names: Names,
}

impl<'a> Includes<'a> {
    /// None yet.
    pub fn new(objects: &'a Objects) -> Includes<'a> {
        Includes {
            objects,
            names: Names::default(),
        }
    }

    /// Adds those of an object, or none.
    pub fn add(&mut self, object: Option<&Object>) {
        let Some(object) = object else { return };
        if let Some(names) = object
            .extra()
            .as_ref()
            .and_then(|e| e.downcast_ref::<Names>())
        {
            for name in &names.0 {
                self.names.add(name);
            }
        }
    }

    /// Adds those of the objects at `count` addresses.
    ///
    /// # Safety
    /// `list` must be null or valid for reading as many addresses.
    pub unsafe fn add_list(&mut self, list: *const *const std::ffi::c_void, count: i128) {
        if list.is_null() {
            return;
        }
        for index in 0..usize::try_from(count).unwrap_or(0) {
            // SAFETY: so the caller says.
            self.add(self.objects.find_any(unsafe { *list.add(index) }));
        }
    }

    /// What must travel with `options`; `None`: nothing.
    pub fn bundle(self, options: &[u8]) -> Option<Bundle> {
        let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
        bundle(self.names, options, &here)
    }
}

fn bundle(mut names: Names, options: &[u8], here: &Path) -> Option<Bundle> {
    let mut search = Search::new(here);
    for (at, kind, name) in names_in(options) {
        let path = Path::new(OsStr::from_bytes(name));
        match kind {
            Named::Folder => search.add_folder(path),
            Named::File if here.join(path).is_file() => {
                names.add(name);
            }
            Named::File => {
                names.add(name);
                continue; // it is looked for in the folders
            }
        }
        search.bundle.names.push((at, !path.is_absolute()));
    }
    search.all_of(names, None);
    let nothing = search.bundle.names.is_empty() && search.bundle.files.is_empty();
    (!nothing).then_some(search.bundle)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    Folder,
    File,
}

/// Where in `options` names of folders and files begin, and the names.
fn names_in(options: &[u8]) -> Vec<(usize, Named, &[u8])> {
    let mut found = Vec::new();
    let mut expected = None;
    for (at, word) in words(options) {
        if let Some(kind) = expected.take() {
            found.push((at, kind, word));
        } else if word == FILE_OPTION {
            expected = Some(Named::File);
        } else if let Some(rest) = FOLDER_OPTIONS.iter().find_map(|o| word.strip_prefix(*o)) {
            match rest {
                b"" => expected = Some(Named::Folder),
                name => found.push((at + word.len() - name.len(), Named::Folder, name)),
            }
        }
    }
    // Quotes around a name are not a part of it.
    for (at, _, name) in &mut found {
        if let [quote @ (b'"' | b'\''), rest @ ..] = *name {
            *name = rest.strip_suffix(&[*quote]).unwrap_or(rest);
            *at += 1;
        }
    }
    found
}

/// The words of `options` and where they begin. White space between quotes is a part of a word.
fn words(options: &[u8]) -> Vec<(usize, &[u8])> {
    let mut words = Vec::new();
    let (mut begin, mut quote) = (None, None);
    for (at, byte) in options.iter().enumerate() {
        match (quote, byte) {
            (Some(open), byte) if open == *byte => quote = None,
            (None, b'"' | b'\'') => {
                quote = Some(*byte);
                begin.get_or_insert(at);
            }
            (None, byte) if byte.is_ascii_whitespace() => {
                words.extend(begin.take().map(|from| (from, &options[from..at])));
            }
            _ => {
                begin.get_or_insert(at);
            }
        }
    }
    words.extend(begin.map(|from| (from, &options[from..])));
    words
}

/// A search for files.
struct Search<'a> {
    here: &'a Path,
    folders: Vec<PathBuf>,
    /// Places that have been looked at.
    seen: HashSet<PathBuf>,
    bytes: usize,
    bundle: Bundle,
}

impl<'a> Search<'a> {
    fn new(here: &'a Path) -> Search<'a> {
        Search {
            here,
            folders: Vec::new(),
            seen: HashSet::new(),
            bytes: 0,
            bundle: Bundle {
                here: here.as_os_str().as_bytes().to_vec(),
                ..Bundle::default()
            },
        }
    }

    fn add_folder(&mut self, folder: &Path) {
        let folder = self.here.join(folder);
        if folder.is_dir() {
            let path = flat(&folder).into_os_string().into_encoded_bytes();
            self.bundle.folders.push(path);
        }
        self.folders.push(folder);
    }

    /// Finds what `names` name, in the text of the file in the folder `beside` or of the program.
    fn all_of(&mut self, names: Names, beside: Option<PathBuf>) {
        // What is still to be looked for; not recursive, however deep files include one another.
        let mut left = vec![(names, beside)];
        while let Some((names, beside)) = left.pop() {
            for name in &names.0 {
                let name = Path::new(OsStr::from_bytes(name));
                let is_here = self.look_at(self.here.join(name), &mut left);
                // (An absolute name needs no folder.)
                self.bundle.look_here |= is_here && name.is_relative();
                for folder in 0..self.folders.len() {
                    self.look_at(self.folders[folder].join(name), &mut left);
                }
                if let Some(beside) = &beside {
                    self.look_at(beside.join(name), &mut left);
                }
            }
        }
    }

    /// Takes the file at `path` along, if there is one. Returns whether there is.
    fn look_at(&mut self, path: PathBuf, left: &mut Vec<(Names, Option<PathBuf>)>) -> bool {
        let Ok(found) = path.metadata() else {
            return false;
        };
        if !found.is_file() {
            return false;
        }
        let place = flat(&path);
        if self.seen.contains(&place) {
            return true;
        }
        let fits = |bytes: u64| bytes <= (MAX_BYTES - self.bytes) as u64;
        if self.bundle.files.len() >= MAX_FILES || !fits(found.len()) {
            return false;
        }
        let Ok(content) = std::fs::read(&path) else {
            return false;
        };
        if !fits(content.len() as u64) {
            return false;
        }
        self.bytes += content.len();
        left.push((Names::new(&content), path.parent().map(Path::to_owned)));
        let name = place.clone().into_os_string().into_encoded_bytes();
        self.bundle.files.push((name, content));
        self.seen.insert(place);
        true
    }
}

/// `path`, which is absolute, without `.` and `..`, as it reads.
fn flat(path: &Path) -> PathBuf {
    let mut flat = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::Normal(part) => flat.push(part),
            Component::ParentDir => {
                flat.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    flat
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        let Names(names) = Names::new(text.as_bytes());
        names
            .into_iter()
            .map(|name| String::from_utf8(name).unwrap())
            .collect()
    }

    #[test]
    fn texts_name_what_they_include() {
        let text = "#include <a/b.h>\n  #  include \"c.h\" // \"x\"\nint include = 1;\n\
                    #define OTHER \"d.h\"\n#if __has_include(<e.h>) || __has_include(\"f.h\")\n\
                    #include <a/b.h>\n#include \"\n#include";
        assert_eq!(names(text), ["a/b.h", "c.h", "e.h", "f.h", "d.h"]);
        assert_eq!(names("#define OTHER \"d.h\"\n#define N 1"), [""; 0]);
    }

    #[test]
    fn options_name_folders() {
        let options = b"-I /a -Ib -DX=\"-I no\" -I \"c d\" -include e.h -I";
        let found = names_in(options);
        let folder = Named::Folder;
        assert_eq!(
            found[..3],
            [
                (3, folder, &b"/a"[..]),
                (8, folder, b"b"),
                (26, folder, b"c d"),
            ]
        );
        assert_eq!(found[3].1, Named::File);
        assert_eq!(&options[found[3].0..found[3].0 + 3], b"e.h");
        assert_eq!(found.len(), 4);
    }

    #[test]
    fn files_are_found_wherever_a_compiler_would_look() {
        let temporary = tempfile::tempdir().unwrap();
        let root = temporary.path().canonicalize().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("one/a.h", "#include \"sub/b.h\"\n#include <c.h>");
        write("one/sub/b.h", "#include \"../d.h\"");
        write("two/c.h", "#include <a.h>");
        write("one/d.h", "");
        write("here/e.h", "");
        let look = |text: &str, options: &str| {
            let names = Names::new(text.as_bytes());
            bundle(names, options.as_bytes(), &root.join("here"))
        };
        let text = "#include <a.h>\n#include <missing.h>";
        let found = look(text, "-I ../one -I ../two").unwrap();
        let mut paths: Vec<&str> = found
            .files
            .iter()
            .map(|(path, _)| std::str::from_utf8(path).unwrap())
            .map(|path| path.strip_prefix(root.to_str().unwrap()).unwrap())
            .collect();
        paths.sort_unstable();
        assert_eq!(paths, ["/one/a.h", "/one/d.h", "/one/sub/b.h", "/two/c.h"]);
        assert_eq!(found.names, [(3, true), (13, true)]);
        assert!(!found.look_here);
        assert!(Bundle::read(&found.to_bytes()).is_some());

        assert!(look("#include \"e.h\"", "").unwrap().look_here);
        assert_eq!(look(text, "-DX"), None);
        assert_eq!(look("", "-I /nowhere").unwrap().names, [(3, false)]);
        assert_eq!(look("#include \"/dev/zero\"", ""), None, "no file");
    }
}
