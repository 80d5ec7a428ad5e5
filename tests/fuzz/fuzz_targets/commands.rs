//! Commands as a guest may send them: checked and taken apart. Starts from one of each function.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    weir_decoders::mutate::run(bytes);
});
