//! The coverage tables in `docs/`: what is carried of each API, and what tests it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use weir_spec::{Spec, generate, report};

/// Where calls are made for the sake of testing them: files, and folders of such.
const PLACES: &[&str] = &[
    "tests/programs",
    "api/worker/tests",
    "api/opencl/src/worker/tests.rs",
    "guest-driver/opencl/tests",
];

/// At most so many tests are named for each function.
const NAMED: usize = 4;

/// Which tests name which functions, found in their sources.
pub struct Tests {
    /// Names in each file, by the file's name.
    words: BTreeMap<String, Vec<String>>,
}

impl Tests {
    /// Reads the sources of all tests of the working tree `root`.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn read(root: &Path) -> Result<Self> {
        let mut words = BTreeMap::new();
        for place in PLACES {
            for file in files(&root.join(place))? {
                let text = fs::read_to_string(&file)
                    .with_context(|| format!("reading {}", file.display()))?;
                let name = file.strip_prefix(root)?.display().to_string();
                words.insert(name, names(&text));
            }
        }
        Ok(Tests { words })
    }

    /// The tests that name `function`.
    pub fn of(&self, function: &str) -> Vec<String> {
        let found = self.words.iter().filter(|(_, words)| {
            words
                .binary_search_by(|word| word.as_str().cmp(function))
                .is_ok()
        });
        let short = |file: &String| {
            let file = file.strip_prefix("tests/programs/").unwrap_or(file);
            format!("`{file}`")
        };
        found.map(|(file, _)| short(file)).take(NAMED).collect()
    }
}

/// The page of `spec`, for `docs/coverage-NAME.md`.
pub fn page(spec: &Spec, tests: &Tests) -> String {
    generate::coverage::generate(spec, &|function| tests.of(function))
}

/// Writes all pages below `root`.
///
/// # Errors
/// When a spec is wrong, or a file cannot be read or written.
pub fn write(root: &Path) -> Result<()> {
    let tests = Tests::read(root)?;
    for spec in report::specs(root)? {
        let page_file = file(root, &spec);
        fs::write(&page_file, page(&spec, &tests))
            .with_context(|| format!("writing {}", page_file.display()))?;
    }
    Ok(())
}

fn file(root: &Path, spec: &Spec) -> PathBuf {
    root.join(format!("docs/coverage-{}.md", spec.name))
}

fn files(place: &Path) -> Result<Vec<PathBuf>> {
    if place.is_file() {
        return Ok(vec![place.to_owned()]);
    }
    let mut found = Vec::new();
    if !place.is_dir() {
        return Ok(found);
    }
    for entry in fs::read_dir(place).with_context(|| format!("listing {}", place.display()))? {
        let path = entry?.path();
        let is_source = |path: &Path| {
            let extension = path.extension().and_then(|extension| extension.to_str());
            matches!(extension, Some("c" | "rs"))
        };
        if path.is_dir() {
            found.extend(files(&path)?);
        } else if is_source(&path) {
            found.push(path);
        }
    }
    Ok(found)
}

/// All names in `text` but those in comments, sorted.
fn names(text: &str) -> Vec<String> {
    let code = text.lines().filter(|line| {
        let line = line.trim_start();
        !(line.starts_with("//") || line.starts_with('#') && !line.starts_with("#define"))
    });
    let mut names: Vec<String> = code
        .flat_map(|line| line.split(|c: char| !c.is_alphanumeric() && c != '_'))
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect();
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
    }

    #[test]
    fn the_committed_tables_are_up_to_date() {
        let tests = Tests::read(&root()).unwrap();
        for spec in report::specs(&root()).unwrap() {
            let file = file(&root(), &spec);
            let committed = fs::read_to_string(&file).unwrap_or_default();
            assert!(
                committed == page(&spec, &tests),
                "{} is not what spec and tests say; `cargo xtask spec coverage` writes it anew",
                file.display()
            );
        }
    }

    #[test]
    fn names_in_comments_test_nothing() {
        let found = names("// clFlush\nclFinish(q); x->clFoo2;\n#include <clBar>\n");
        assert_eq!(found, ["clFinish", "clFoo2", "q", "x"]);
    }
}
