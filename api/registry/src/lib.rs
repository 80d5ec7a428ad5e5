//! The list of APIs that Weir carries: one line each.

use weir_wire::function::Api;

/// What the mediator knows of each API.
pub static APIS: &[&Api] = &[
    &weir_api_opencl::table::API,
    &weir_api_libdeflate::table::API,
];

/// The API with this number.
pub fn by_id(id: u16) -> Option<&'static Api> {
    APIS.iter().copied().find(|api| api.id == id)
}

/// The API with this name.
pub fn by_name(name: &str) -> Option<&'static Api> {
    APIS.iter().copied().find(|api| api.name == name)
}

/// The worker's side of each API.
#[cfg(feature = "worker")]
pub mod worker {
    use std::sync::Arc;

    use weir_runtime::library::{Library, LibraryError};

    /// Loads an API's vendor library.
    pub type Load = fn() -> Result<Arc<dyn Library>, LibraryError>;

    /// How to load the vendor library of each API, by the API's name.
    pub static LIBRARIES: &[(&str, Load)] = &[
        ("opencl", weir_api_opencl::worker::load),
        ("libdeflate", weir_api_libdeflate::worker::load),
    ];
}
