//! One local tenant's accelerators, each served on a socket of its own.

use std::path::{Path, PathBuf};

use thiserror::Error;
use weir_devices::accel::{AccelHandle, LocalError, LocalServer};

use crate::devices;
use crate::spec::{AcceleratorSpec, TenantSpec};
use crate::supervisor::state;

/// Why an accelerator cannot be served.
#[derive(Debug, Error)]
pub enum ServeError {
    /// There is no place for the worker's program or for what workers compile.
    #[error("looking for the worker's program, or making a folder for what workers compile")]
    Files(#[from] std::io::Error),
    /// The mediator cannot be had.
    #[error("accelerator `{name}`")]
    Accelerator {
        /// Its name in the configuration.
        name: String,
        /// Why not.
        #[source]
        source: LocalError,
    },
}

/// Where a tenant's programs reach one of its accelerators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The API by which they use it.
    pub api: String,
    /// The mediator's socket.
    pub socket: PathBuf,
}

/// The mediators of one tenant. Dropping it ends all of its clients.
pub struct Server {
    accelerators: Vec<LocalServer>,
}

impl Server {
    /// Serves all that `tenant` may use on sockets in `folder`.
    ///
    /// # Errors
    /// A socket or the mediator's parts cannot be had.
    pub fn start(tenant: &TenantSpec, folder: &Path) -> Result<Self, ServeError> {
        let serve = |grant: &AcceleratorSpec| {
            let config = devices::accel_config(grant, &tenant.name)?;
            let socket = state::tenant_socket(folder, &tenant.name, &grant.name);
            // The folder is this user's alone and has one owner at a time: what lies there is dead.
            let _ = std::fs::remove_file(&socket);
            LocalServer::new(config, socket).map_err(|source| ServeError::Accelerator {
                name: grant.name.clone(),
                source,
            })
        };
        let accelerators = tenant.accelerators.iter().map(serve);
        Ok(Self {
            accelerators: accelerators.collect::<Result<_, _>>()?,
        })
    }

    /// Where to ask about each accelerator, and to change it.
    pub fn handles(&self) -> impl Iterator<Item = AccelHandle> {
        self.accelerators.iter().map(LocalServer::handle)
    }
}

/// Where programs of `tenant` reach its accelerators, in `folder`.
pub fn places(tenant: &TenantSpec, folder: &Path) -> Vec<Place> {
    let place = |grant: &AcceleratorSpec| Place {
        api: grant.api.clone(),
        socket: state::tenant_socket(folder, &tenant.name, &grant.name),
    };
    tenant.accelerators.iter().map(place).collect()
}
