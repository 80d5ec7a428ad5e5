//! What a guest encodes reaches the vendor as the same values, for arguments of the fuzzer's choice.
#![no_main]

use std::cell::OnceCell;

use weir_decoders::APIS;
use weir_decoders::round::{commands, round};
use weir_decoders::source::Source;
use weir_spec::Spec;

thread_local! {
    static SPECS: OnceCell<Vec<&'static Spec>> = const { OnceCell::new() };
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    SPECS.with(|specs| {
        let specs = specs.get_or_init(|| APIS.iter().map(|sides| sides.read()).collect());
        let mut source = Source::new(bytes);
        let api = source.below(APIS.len() as u64) as usize;
        let functions = commands(specs[api]);
        let function = functions[source.below(functions.len() as u64) as usize];
        if let Err(what) = round(&APIS[api], specs[api], function, &mut source) {
            panic!("{}: {what}", function.name);
        }
    });
});
