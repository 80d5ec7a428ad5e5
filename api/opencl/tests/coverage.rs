//! The coverage table in the docs is what the spec says.

use weir_spec::{Spec, generate};

#[test]
fn the_committed_coverage_table_is_up_to_date() {
    let spec = Spec::read(weir_api_opencl::SPEC).unwrap_or_else(|e| panic!("{e}"));
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/coverage-opencl.md");
    let committed = std::fs::read_to_string(page).unwrap_or_default();
    assert!(
        committed == generate::coverage::generate(&spec),
        "docs/coverage-opencl.md is not what the spec says; `cargo run -p weir-api-opencl --example \
         coverage` writes it anew"
    );
}

#[test]
fn every_function_of_the_dispatch_table_is_described_once() {
    let spec = Spec::read(weir_api_opencl::SPEC).unwrap_or_else(|e| panic!("{e}"));
    let names: std::collections::HashSet<_> = spec.functions.iter().map(|f| &f.name).collect();
    assert_eq!((names.len(), spec.functions.len()), (149, 149));
    assert_eq!(spec.functions[0].name, "clGetPlatformIDs");
    assert_eq!(spec.functions[148].name, "clSetContextDestructorCallback");
}
