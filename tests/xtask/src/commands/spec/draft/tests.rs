//! Drafts of a header that has something of each kind, and of those that there are specs of.

use std::path::{Path, PathBuf};

use weir_spec::Spec;

use super::header::Header;
use super::{Draft, draft, guess};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/commands/spec/draft")
}

fn draft_of(header: &Path, name: &str, options: &[&str]) -> Draft {
    let options: Vec<String> = options.iter().map(|option| (*option).into()).collect();
    let header = Header::read(header, &options).unwrap();
    draft(&header, name, "libexample.so.1", 9).unwrap()
}

fn read(text: &str) -> Result<Spec, String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    Spec::read(file.path()).map_err(|error| error.to_string())
}

#[test]
fn a_draft_is_what_it_was() {
    let draft = draft_of(&folder().join("example.h"), "example", &[]);
    let kept = include_str!("example.draft");
    assert_eq!(
        draft.text, kept,
        "write it to example.draft if it is better"
    );
    assert_eq!((draft.functions, draft.beyond), (11, 1));
}

#[test]
fn what_is_not_guessed_is_refused_at_the_parameter() {
    let text = draft_of(&folder().join("example.h"), "example", &[]).text;
    let complaint = read(&text).unwrap_err();
    assert!(complaint.contains("parameter `notify`"), "{complaint}");
    let text = text.replace(
        "// not guessed: what becomes of what is called",
        "#[callback(unsupported)]",
    );
    let complaint = read(&text).unwrap_err();
    assert!(
        complaint.contains("parameter `extent` is read"),
        "{complaint}"
    );
    let text = text.replace("// not guessed: how much is read", "#[len(1)]");
    let complaint = read(&text).unwrap_err();
    assert!(
        complaint.contains("parameter `ratio` is written"),
        "{complaint}"
    );
    let text = text.replace("// not guessed: how much is written", "#[len(1)]");
    let spec = read(&text).unwrap();
    assert_eq!(spec.functions.len(), 10);
}

#[test]
fn all_but_callbacks_of_libdeflate_is_guessed() {
    let text = draft_of(Path::new("/usr/include/libdeflate.h"), "libdeflate", &[]).text;
    let text = text.replace(
        "// not guessed: what becomes of what is called",
        "#[callback(unsupported)]",
    );
    let text = text.replace("fn libdeflate_set", "#[fails(abort)]\nfn libdeflate_set");
    let drafted = read(&text).unwrap();
    let real = folder().join("../../../../../../api/libdeflate/spec.rs");
    let real = Spec::read(real).unwrap();
    assert_eq!(drafted.kinds.len(), real.kinds.len());
    for function in &real.functions {
        let mut others = drafted.functions.iter();
        let drafted = others.find(|other| other.name == function.name).unwrap();
        assert_eq!(
            drafted.params.len(),
            function.params.len(),
            "{}",
            function.name
        );
        assert_eq!(drafted.new, function.new, "{}", function.name);
        assert_eq!(drafted.releases, function.releases, "{}", function.name);
    }
}

#[test]
fn most_of_opencl_is_guessed() {
    let options = ["-DCL_TARGET_OPENCL_VERSION=300"];
    let draft = draft_of(Path::new("/usr/include/CL/cl.h"), "opencl", &options);
    assert!(draft.functions > 100 && draft.beyond <= 2);
    assert!(
        draft.said * 100 >= draft.to_say * 65,
        "{} of {}",
        draft.said,
        draft.to_say
    );
    for kind in [
        "PLATFORM",
        "DEVICE",
        "CONTEXT",
        "COMMAND_QUEUE",
        "MEM_OBJECT",
        "EVENT",
    ] {
        let handle = format!("#[handle(CL_INVALID_{kind})]");
        assert!(draft.text.contains(&handle), "{handle}");
    }
}

#[test]
fn names_fall_into_words() {
    assert_eq!(
        guess::words("clEnqueueReadBuffer"),
        ["cl", "enqueue", "read", "buffer"]
    );
    assert_eq!(guess::words("num_events_in_wait_list").len(), 5);
    assert_eq!(
        guess::words("CL_INVALID_MEM_OBJECT"),
        ["cl", "invalid", "mem", "object"]
    );
    assert_eq!(guess::words("destLen"), ["dest", "len"]);
}
