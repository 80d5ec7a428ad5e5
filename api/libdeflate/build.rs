//! Makes the table and the worker's dispatch from the spec.

fn main() -> std::process::ExitCode {
    weir_spec::build::api()
}
