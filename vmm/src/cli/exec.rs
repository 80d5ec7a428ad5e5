//! `weir exec`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::Failure;
use super::client::{Supervisor, Where};
use crate::accelerators;
use crate::config::{Config, units};
use crate::local::environment;
use crate::local::folder::Folder;
use crate::local::program::{self, Program};
use crate::local::server::{self, Place, Privileges, Server};
use crate::signals::EndSignals;
use crate::spec::{AcceleratorSpec, TenantSpec};
use crate::status::VmState;

/// Arguments of `weir exec`.
#[derive(Debug, Args)]
#[command(after_help = "\
The program finds Weir's driver through its own OpenCL loader and nothing else of the host's OpenCL; its
calls are checked, metered and held to limits as a guest's are. With --config and --tenant it has the
limits of [tenant.NAME]: together with all programs of that tenant if `weir up FILE` runs, else by
itself. Without, it has a device of its own.

Exit status: the program's; 126 if it cannot be executed, 127 if it is not there, 128 + N if signal N
killed it; 1 and 2 as for other commands, with a message that begins with `weir:`.

Examples:
  weir exec -- clinfo
  weir exec --memory 1GiB -- hashcat -b -m 0
  weir exec --config demo.toml --tenant carol -- python3 train.py")]
pub struct ExecArgs {
    /// Configuration that has the tenant
    #[arg(long, value_name = "FILE", requires = "tenant")]
    config: Option<PathBuf>,
    /// Which tenant of the configuration
    #[arg(long, value_name = "NAME", requires = "config")]
    tenant: Option<String>,
    /// Which of the tenant's accelerators, where several have one API
    #[arg(long, value_name = "NAME", requires = "config")]
    accelerator: Option<String>,
    /// API of the device
    #[arg(
        long,
        value_name = "NAME",
        default_value = "opencl",
        conflicts_with = "config"
    )]
    api: String,
    /// A part of the platform's name [default: the first platform]
    #[arg(long, value_name = "TEXT", conflicts_with = "config")]
    platform: Option<String>,
    /// Number of the device among the platform's
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "config")]
    device: u32,
    /// Most device memory [default: all that the device has]
    #[arg(long, value_name = "SIZE", value_parser = units::size, conflicts_with = "config")]
    memory: Option<u64>,
    #[command(flatten)]
    place: Where,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "PROGRAM")]
    command: Vec<OsString>,
}

/// Runs a program as a local tenant; answers its status.
pub(super) fn exec(args: ExecArgs) -> Result<u8, Failure> {
    let mut tenant = tenant(&args)?;
    if let Some(name) = &args.accelerator {
        tenant.accelerators.retain(|grant| grant.name == *name);
        if tenant.accelerators.is_empty() {
            let text = format!("`{}` has no accelerator called `{name}`", tenant.name);
            return Err(Failure::usage_text(text));
        }
    }
    let folder = Folder::new().map_err(|error| Failure::other(&error))?;
    let signals = EndSignals::collect().map_err(|error| Failure::other(&error))?;
    let (places, server) = match served(&args, &tenant) {
        Some(places) => (places, None),
        None => {
            let server = Server::start(&tenant, folder.path(), Privileges::Keep);
            let server = server.map_err(|error| Failure::other(&error))?;
            (server::places(&tenant, folder.path()), Some(server))
        }
    };
    let variables = environment::prepare(&places, folder.path());
    let variables = variables.map_err(|error| Failure::usage(&error))?;
    let program = match Program::start(&args.command, &variables) {
        Ok(program) => program,
        Err(error) => {
            eprintln!("weir: {}: {error}", args.command[0].display());
            return Ok(program::status_of(&error));
        }
    };
    let status = program.wait(&signals);
    drop(server);
    status.map_err(|error| Failure::other(&error))
}

/// The tenant that the program is to be.
fn tenant(args: &ExecArgs) -> Result<TenantSpec, Failure> {
    let usage = |error: &dyn std::error::Error| Failure::usage(error);
    if let (Some(file), Some(name)) = (&args.config, &args.tenant) {
        let config = Config::load(file).map_err(|error| usage(&error))?;
        let tenant = config.tenant(name).map_err(|error| usage(&error))?.clone();
        return Ok(tenant);
    }
    if !weir_apis::APIS.iter().any(|api| api.name == args.api) {
        let known: Vec<&str> = weir_apis::APIS.iter().map(|api| api.name).collect();
        let text = format!(
            "there is no API called `{}`; there are {}",
            args.api,
            crate::config::reader::list(&known)
        );
        return Err(Failure::usage_text(text));
    }
    let grant = AcceleratorSpec {
        name: "local".into(),
        api: args.api.clone(),
        platform: args.platform.clone(),
        device: args.device,
        share: 1,
        memory: args.memory,
        ..Default::default()
    };
    // One sentence now, rather than a program's error later.
    accelerators::probe(&grant).map_err(Failure::usage_text)?;
    Ok(TenantSpec {
        name: "local".into(),
        accelerators: vec![grant],
    })
}

/// Where `weir up` serves this tenant, if it does.
fn served(args: &ExecArgs, tenant: &TenantSpec) -> Option<Vec<Place>> {
    args.tenant.as_ref()?;
    let alone = |why: &str| {
        let name = &tenant.name;
        eprintln!("weir: {why}, so this program alone has what `{name}` may use");
        None
    };
    let Ok(mut supervisor) = Supervisor::connect(&args.place) else {
        return alone("no `weir up` runs here");
    };
    let machines = supervisor.machines().unwrap_or_default();
    let found = machines.iter().find(|machine| machine.name == tenant.name);
    match found.map(|machine| machine.state) {
        Some(VmState::Running) => Some(server::places(tenant, &args.place.folder())),
        Some(_) => alone("`weir up` does not serve this tenant any more"),
        None => alone("the `weir up` that runs has no such tenant"),
    }
}
