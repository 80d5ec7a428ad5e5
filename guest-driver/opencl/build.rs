//! Makes the C entry points from the API's spec.

fn main() -> std::process::ExitCode {
    weir_spec::build::guest("../../api/opencl/spec.rs", "libweir_opencl.so.1")
}
