//! Whatever a guest sends: refused, or taken apart with pointers that are good. Never a panic.
//!
//! `WEIR_CASES` says how many cases; `WEIR_WRITE_CORPUS=1` writes the corpus anew: one command of each
//! function, which `tests/fuzz` starts from.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use weir_decoders::APIS;
use weir_decoders::mutate::{Fate, mutate, run};
use weir_decoders::round::{commands, last_command, round};
use weir_decoders::source::Source;

fn cases(default: u32) -> u32 {
    let set = std::env::var("WEIR_CASES").ok();
    set.and_then(|n| n.parse().ok()).unwrap_or(default)
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/commands")
}

fn runner(cases: u32) -> TestRunner {
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new(config)
}

/// Names and bytes of one command of each function.
fn one_of_each() -> &'static [(String, Vec<u8>)] {
    // Rounds are made one at a time.
    static ALL: std::sync::OnceLock<Vec<(String, Vec<u8>)>> = std::sync::OnceLock::new();
    ALL.get_or_init(make_one_of_each)
}

fn make_one_of_each() -> Vec<(String, Vec<u8>)> {
    let mut random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut all = Vec::new();
    for sides in APIS {
        let spec = sides.read();
        for function in commands(spec) {
            for _ in 0..200 {
                let mut bytes = [0; 300];
                random.fill_bytes(&mut bytes);
                let made = round(sides, spec, function, &mut Source::new(&bytes));
                if made.unwrap_or_else(|what| panic!("{}: {what}", function.name)) {
                    all.push((format!("{}-{}", spec.name, function.name), last_command()));
                    break;
                }
            }
        }
    }
    all
}

#[test]
fn changed_commands_do_no_harm() {
    let all = one_of_each();
    assert!(all.iter().all(|(_, bytes)| run(bytes) == Fate::Taken));
    let fates = std::cell::Cell::new((0u32, 0u32));
    let strategy = (
        any::<prop::sample::Index>(),
        prop::collection::vec(any::<u8>(), 1..80),
    );
    let cases = cases(20_000);
    let outcome = runner(cases).run(&strategy, |(which, choices)| {
        let mut bytes = which.get(all).1.clone();
        mutate(&mut bytes, &mut Source::new(&choices));
        let (refused, taken) = fates.get();
        fates.set(match run(&bytes) {
            Fate::Refused => (refused + 1, taken),
            Fate::Taken => (refused, taken + 1),
        });
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
    // Neither is everything refused, nor does everything pass.
    let (refused, taken) = fates.get();
    assert!(
        refused > cases / 20 && taken > cases / 20,
        "{refused} refused, {taken} taken"
    );
}

#[test]
fn random_commands_do_no_harm() {
    let strategy = (
        prop::collection::vec(any::<u8>(), 16..400),
        any::<prop::sample::Index>(),
        any::<u16>(),
    );
    let outcome = runner(cases(5_000)).run(&strategy, |(mut bytes, api, number)| {
        bytes.truncate(bytes.len() / 8 * 8);
        let api = api.get(APIS).api;
        let size = (bytes.len() as u32).to_le_bytes();
        bytes[..4].copy_from_slice(&size);
        bytes[4..6].copy_from_slice(&api.id.to_le_bytes());
        bytes[6..8].copy_from_slice(&(number % api.functions.len() as u16).to_le_bytes());
        bytes[8..12].copy_from_slice(&[0; 4]);
        run(&bytes);
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

#[test]
fn the_corpus_does_no_harm() {
    if std::env::var_os("WEIR_WRITE_CORPUS").is_some() {
        fs::create_dir_all(corpus()).unwrap();
        for (name, bytes) in one_of_each() {
            fs::write(corpus().join(name), bytes).unwrap();
        }
    }
    let mut files = 0;
    for entry in fs::read_dir(corpus()).unwrap() {
        run(&fs::read(entry.unwrap().path()).unwrap());
        files += 1;
    }
    let functions: usize = APIS.iter().map(|sides| commands(sides.read()).len()).sum();
    assert!(
        files >= functions,
        "the corpus has {files} commands of {functions} functions: write it anew with \
         WEIR_WRITE_CORPUS=1 cargo test -p weir-decoders"
    );
}
