//! Makes the library from the API's spec.

fn main() -> std::process::ExitCode {
    weir_spec::build::guest("../../api/libdeflate/spec.rs", "libdeflate.so.0")
}
