//! The list of APIs that Weir carries: one line each.

use weir_wire::function::Api;

/// What the mediator knows of each API.
pub static APIS: &[&Api] = &[
    &weir_api_opencl::table::API,
    &weir_api_libdeflate::table::API,
];

/// How a program comes to call Weir's library of an API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// As a driver that the API's own loader finds (an OpenCL ICD).
    Driver,
    /// By the name of the vendor's library, for which it stands in.
    Library(&'static str),
}

/// How programs come to each API, by its name.
pub static ENTRIES: &[(&str, Entry)] = &[
    ("opencl", Entry::Driver),
    ("libdeflate", Entry::Library("libdeflate.so.0")),
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
