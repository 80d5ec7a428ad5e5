//! One local tenant's accelerators, each served on a socket of its own.

use std::path::{Path, PathBuf};

use thiserror::Error;
use weir_devices::accel::{AccelConfig, AccelHandle, LocalError, LocalServer};

use crate::devices;
use crate::sandbox::{self, SandboxError};
use crate::spec::{AcceleratorSpec, TenantSpec};
use crate::supervisor::state;

/// Why an accelerator cannot be served.
#[derive(Debug, Error)]
pub enum ServeError {
    /// There is no place for the worker's program or for what workers compile.
    #[error("looking for the worker's program, or making a folder for what workers compile")]
    Files(#[from] std::io::Error),
    /// Privileges cannot be given up.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
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

/// What becomes of the process's privileges when mediators start in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privileges {
    /// It is there for nothing else.
    GiveUp,
    /// The user's program starts from it.
    Keep,
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
    pub fn start(
        tenant: &TenantSpec,
        folder: &Path,
        privileges: Privileges,
    ) -> Result<Self, ServeError> {
        // All that starts programs, or needs privileges, first: the mediators' threads do neither.
        let configs = tenant.accelerators.iter().map(|grant| {
            let config = devices::accel_config(grant, &tenant.name)?;
            Ok((
                config,
                state::tenant_socket(folder, &tenant.name, &grant.name),
            ))
        });
        let configs = configs.collect::<Result<Vec<_>, ServeError>>()?;
        if privileges == Privileges::GiveUp {
            sandbox::give_up()?;
        }
        let serve = |(config, socket): (AccelConfig, PathBuf)| {
            // The folder is this user's alone and has one owner at a time: what lies there is dead.
            let _ = std::fs::remove_file(&socket);
            let name = config.name.clone();
            LocalServer::new(config, socket)
                .map_err(|source| ServeError::Accelerator { name, source })
        };
        Ok(Self {
            accelerators: configs.into_iter().map(serve).collect::<Result<_, _>>()?,
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
