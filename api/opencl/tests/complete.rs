//! The spec describes what the API has.

use weir_spec::Spec;

#[test]
fn every_function_of_the_dispatch_table_is_described_once() {
    let spec = Spec::read(weir_api_opencl::SPEC).unwrap_or_else(|e| panic!("{e}"));
    let names: std::collections::HashSet<_> = spec.functions.iter().map(|f| &f.name).collect();
    assert_eq!((names.len(), spec.functions.len()), (149, 149));
    assert_eq!(spec.functions[0].name, "clGetPlatformIDs");
    assert_eq!(spec.functions[148].name, "clSetContextDestructorCallback");
}
