//! Writes docs/coverage-opencl.md.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let spec = weir_spec::Spec::read(weir_api_opencl::SPEC)?;
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/coverage-opencl.md");
    std::fs::write(page, weir_spec::generate::coverage::generate(&spec))?;
    Ok(())
}
