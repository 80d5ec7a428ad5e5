//! What the guest encodes, the mediator accepts and the worker decodes to the same values.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use weir_decoders::round::{commands, round};
use weir_decoders::source::Source;
use weir_decoders::{APIS, Sides};

/// Rounds of each function; `WEIR_CASES` says another number.
fn cases() -> u32 {
    let set = std::env::var("WEIR_CASES").ok();
    set.and_then(|n| n.parse().ok()).unwrap_or(40)
}

fn every_function(sides: &Sides) {
    let spec = sides.read();
    for function in commands(spec) {
        let made = std::cell::Cell::new(0);
        let config = Config {
            cases: cases(),
            failure_persistence: None,
            max_shrink_iters: 0,
            ..Config::default()
        };
        let outcome =
            TestRunner::new(config).run(&prop::collection::vec(any::<u8>(), 0..400), |bytes| {
                let mut source = Source::new(&bytes);
                let outcome = round(sides, spec, function, &mut source);
                match outcome {
                    Ok(fits) => made.set(made.get() + u32::from(fits)),
                    Err(what) => prop_assert!(false, "{}: {what}", function.name),
                }
                Ok(())
            });
        if let Err(error) = outcome {
            panic!("{error}");
        }
        assert!(made.get() > 0, "{}: no call could be made", function.name);
    }
}

#[test]
fn every_function_of_every_api_comes_through() {
    for sides in APIS {
        every_function(sides);
    }
}
