//! The Weir hypervisor: command line, supervisor and virtual machine monitor.

use std::process::ExitCode;

fn main() -> ExitCode {
    weir_vmm::cli::main()
}
