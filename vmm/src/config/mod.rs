//! Configuration files: accelerators, machines, and what each machine may use of them.

pub mod grant;
pub mod reader;
pub mod units;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

pub use grant::GrantText;
pub use reader::ConfigError;
use reader::{Named, Source, Table, list};
use weir_devices::accel::arbiter::PolicyKind;

use crate::boot;
use crate::layout;
use crate::spec::{
    AcceleratorSpec, DEFAULT_CMDLINE, DEFAULT_CPUS, DEFAULT_MEMORY, DiskSpec, TenantSpec, VmSpec,
};

const TOP_KEYS: [&str; 4] = ["accelerator", "vm", "tenant", "metrics"];
const ACCELERATOR_KEYS: [&str; 4] = ["api", "platform", "device", "policy"];
const VM_KEYS: [&str; 7] = [
    "kernel",
    "initrd",
    "cmdline",
    "cpus",
    "memory",
    "disks",
    "accelerators",
];
const TENANT_KEYS: [&str; 1] = ["accelerators"];
const DISK_KEYS: [&str; 2] = ["path", "read_only"];
/// Keys of what a tenant may use of an accelerator.
pub const GRANT_KEYS: [&str; 11] = [
    "share",
    "cap",
    "memory",
    "calls_per_second",
    "timeout",
    "priority",
    "bytes_per_second",
    "clients",
    "handles",
    "queue_depth",
    "arena",
];
/// Largest share. Weights beyond it say nothing more and could overflow the arbiter's arithmetic.
const SHARE_MAX: u64 = 10_000;

/// A checked configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Machines, in the order of the file.
    pub vms: Vec<VmSpec>,
    /// Local tenants, in the order of the file.
    pub tenants: Vec<TenantSpec>,
    /// Where to answer requests for metrics.
    pub metrics: Option<SocketAddr>,
    /// Where things stand, for complaints that come later.
    pub places: Places,
}

/// Lines of a configuration that may turn out wrong only once the host is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// The file.
    pub file: PathBuf,
    /// Line of each accelerator's definition, by its name.
    pub accelerators: BTreeMap<String, usize>,
    /// Line of each machine's use of an accelerator, by both names.
    pub grants: BTreeMap<(String, String), usize>,
    /// What is written there.
    pub texts: BTreeMap<(String, String), GrantText>,
}

impl Config {
    /// Reads and checks the file at `path`.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError {
            file: path.into(),
            line: None,
            message: format!("cannot be read: {error}"),
        })?;
        Self::parse(&Source {
            file: path.into(),
            text,
        })
    }

    /// Checks `source`. Relative paths in it are relative to its file.
    pub fn parse(source: &Source) -> Result<Self, ConfigError> {
        let document = DeTable::parse(&source.text).map_err(|error| {
            let message = format!("this is not TOML: {}", error.message());
            source.error(error.span().unwrap_or(0..0), message)
        })?;
        let title = "the top level".to_owned();
        let top = Table::new(
            source,
            title,
            document.span(),
            document.get_ref(),
            &TOP_KEYS,
        )?;
        let metrics = top.parsed("metrics", "\"127.0.0.1:9464\"", |text| {
            text.parse().map_err(|_| {
                format!("\"{text}\" is no address and port, such as \"127.0.0.1:9464\"")
            })
        })?;
        let mut places = Places {
            file: source.file.clone(),
            ..Default::default()
        };
        let mut accelerators = BTreeMap::new();
        for named in top.named("accelerator")? {
            let line = source.error(named.span.clone(), "").line.unwrap_or(1);
            places.accelerators.insert(named.name.into(), line);
            accelerators.insert(named.name, accelerator(source, &named)?);
        }
        let mut vms = Vec::new();
        for named in top.named("vm")? {
            vms.push(vm(source, &named, &accelerators, &mut places)?);
        }
        let mut tenants = Vec::new();
        for named in top.named("tenant")? {
            if vms.iter().any(|vm: &VmSpec| vm.name == named.name) {
                let message = format!(
                    "a machine is called `{}` already; each tenant needs a name of its own",
                    named.name
                );
                return Err(source.error(named.span.clone(), message));
            }
            tenants.push(tenant(source, &named, &accelerators, &mut places)?);
        }
        if vms.is_empty() && tenants.is_empty() {
            return Err(top.error(
                "no machine and no local tenant is defined; add a table such as [vm.alice] or \
                 [tenant.alice]",
            ));
        }
        check_disks(&top, &vms)?;
        Ok(Self {
            vms,
            tenants,
            metrics,
            places,
        })
    }

    /// The machine called `name`.
    pub fn vm(&self, name: &str) -> Result<&VmSpec, ConfigError> {
        self.vms.iter().find(|vm| vm.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.vms.iter().map(|vm| vm.name.as_str()).collect();
            ConfigError {
                file: self.places.file.clone(),
                line: None,
                message: format!("no machine is called `{name}`; there are {}", list(&names)),
            }
        })
    }

    /// The local tenant called `name`.
    pub fn tenant(&self, name: &str) -> Result<&TenantSpec, ConfigError> {
        let found = self.tenants.iter().find(|tenant| tenant.name == name);
        found.ok_or_else(|| {
            let names: Vec<&str> = self.tenants.iter().map(|t| t.name.as_str()).collect();
            let known = match names.as_slice() {
                [] => format!("the file has none; add a table [tenant.{name}]"),
                names => format!("there are {}", list(names)),
            };
            let machine = match self.vms.iter().any(|vm| vm.name == name) {
                true => " (it is a machine)",
                false => "",
            };
            ConfigError {
                file: self.places.file.clone(),
                line: None,
                message: format!("no local tenant is called `{name}`{machine}; {known}"),
            }
        })
    }

    /// All that is granted: each tenant's name with an accelerator that it has.
    pub fn grants(&self) -> impl Iterator<Item = (&str, &AcceleratorSpec)> {
        let machines = self
            .vms
            .iter()
            .map(|vm| (vm.name.as_str(), &vm.accelerators));
        let tenants = self.tenants.iter();
        let tenants = tenants.map(|tenant| (tenant.name.as_str(), &tenant.accelerators));
        machines
            .chain(tenants)
            .flat_map(|(name, grants)| grants.iter().map(move |grant| (name, grant)))
    }

    /// Refuses machines that together want more than the host's `memory` bytes.
    pub fn check_memory(&self, memory: u64) -> Result<(), ConfigError> {
        let wanted: u64 = self.vms.iter().map(|vm| vm.memory).sum();
        if wanted <= memory {
            return Ok(());
        }
        Err(ConfigError {
            file: self.places.file.clone(),
            line: None,
            message: format!(
                "the machines together want {} MiB of memory, and this host has {} MiB; give \
                 them less",
                wanted >> 20,
                memory >> 20
            ),
        })
    }
}

/// An accelerator's definition, before a machine uses it.
struct Definition {
    api: String,
    platform: Option<String>,
    device: u32,
    policy: PolicyKind,
}

/// How the accelerator is shared; others than the usual way are there to compare with.
fn policy(text: &str) -> Result<PolicyKind, String> {
    match text {
        "fair" => Ok(PolicyKind::Fair),
        "fifo" => Ok(PolicyKind::Fifo),
        "strict" => Ok(PolicyKind::Strict),
        "none" => Ok(PolicyKind::None),
        _ => Err(format!(
            "\"{text}\" is no policy: write \"fair\", \"fifo\", \"strict\" or \"none\""
        )),
    }
}

fn accelerator(source: &Source, named: &Named<'_>) -> Result<Definition, ConfigError> {
    check_name(source, named, "accelerator")?;
    let title = format!("[accelerator.{}]", named.name);
    let table = Table::new(
        source,
        title,
        named.span.clone(),
        named.table,
        &ACCELERATOR_KEYS,
    )?;
    Ok(Definition {
        api: table.string("api", "\"opencl\"")?.into(),
        platform: table
            .optional_string("platform", "\"Portable Computing Language\"")?
            .map(Into::into),
        device: table
            .number("device", 0..=u64::from(u16::MAX))?
            .unwrap_or(0) as u32,
        policy: table
            .parsed("policy", "\"fair\"", policy)?
            .unwrap_or_default(),
    })
}

fn vm(
    source: &Source,
    named: &Named<'_>,
    accelerators: &BTreeMap<&str, Definition>,
    places: &mut Places,
) -> Result<VmSpec, ConfigError> {
    check_name(source, named, "vm")?;
    let title = format!("[vm.{}]", named.name);
    let table = Table::new(source, title, named.span.clone(), named.table, &VM_KEYS)?;
    let kernel = file(
        source,
        &table,
        "kernel",
        table.string("kernel", "\"vmlinuz\"")?,
    )?;
    boot::kernel_kind(&kernel).map_err(|error| table.error_at("kernel", error.to_string()))?;
    let initrd = table
        .optional_string("initrd", "\"initrd.img\"")?
        .map(|path| file(source, &table, "initrd", path))
        .transpose()?;
    let memory = table
        .parsed("memory", "\"1GiB\"", |text| memory_size(units::size(text)?))?
        .unwrap_or(DEFAULT_MEMORY);
    let mut disks = Vec::new();
    for disk in table.tables("disks", &DISK_KEYS, "[{ path = \"disk.img\" }]")? {
        disks.push(DiskSpec {
            path: file(source, &disk, "path", disk.string("path", "\"disk.img\"")?)?,
            read_only: disk.boolean("read_only")?.unwrap_or(false),
        });
    }
    let granted = granted(source, named.name, &table, accelerators, places)?;
    Ok(VmSpec {
        name: named.name.into(),
        kernel,
        initrd,
        cmdline: table
            .optional_string("cmdline", "\"console=ttyS0\"")?
            .unwrap_or(DEFAULT_CMDLINE)
            .into(),
        cpus: table
            .number("cpus", 1..=u64::from(layout::CPUS_MAX))?
            .map_or(DEFAULT_CPUS, |cpus| cpus as u32),
        memory,
        disks,
        accelerators: granted,
    })
}

fn tenant(
    source: &Source,
    named: &Named<'_>,
    accelerators: &BTreeMap<&str, Definition>,
    places: &mut Places,
) -> Result<TenantSpec, ConfigError> {
    check_name(source, named, "tenant")?;
    let title = format!("[tenant.{}]", named.name);
    let table = Table::new(source, title, named.span.clone(), named.table, &TENANT_KEYS)?;
    let granted = granted(source, named.name, &table, accelerators, places)?;
    if granted.is_empty() {
        return Err(table.error(
            "a local tenant is nothing but what it may use; add a line such as \
             accelerators.gpu0 = { share = 1 }",
        ));
    }
    Ok(TenantSpec {
        name: named.name.into(),
        accelerators: granted,
    })
}

/// What `table`, which is `tenant`'s, says under `accelerators`, in the order of their names.
fn granted(
    source: &Source,
    tenant: &str,
    table: &Table<'_>,
    accelerators: &BTreeMap<&str, Definition>,
    places: &mut Places,
) -> Result<Vec<AcceleratorSpec>, ConfigError> {
    let mut granted = Vec::new();
    for grant in table.named("accelerators")? {
        let line = source.error(grant.span.clone(), "").line.unwrap_or(1);
        let key = (tenant.to_owned(), grant.name.to_owned());
        let text = GrantText::read(source, grant.table);
        places.texts.insert(key.clone(), text);
        places.grants.insert(key, line);
        granted.push(accelerator_grant(source, &grant, accelerators)?);
    }
    granted.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(granted)
}

fn accelerator_grant(
    source: &Source,
    named: &Named<'_>,
    accelerators: &BTreeMap<&str, Definition>,
) -> Result<AcceleratorSpec, ConfigError> {
    let name = named.name;
    let definition = accelerators.get(name).ok_or_else(|| {
        let message = format!(
            "no accelerator is called `{name}`; define it with a table [accelerator.{name}]"
        );
        source.error(named.span.clone(), message)
    })?;
    let title = format!("`accelerators.{name}`");
    let table = Table::new(source, title, named.span.clone(), named.table, &GRANT_KEYS)?;
    grant(&table, name, definition)
}

/// What `table` grants of the accelerator called `name`.
fn grant(
    table: &Table<'_>,
    name: &str,
    definition: &Definition,
) -> Result<AcceleratorSpec, ConfigError> {
    let positive_size = |text: &str| match units::size(text)? {
        0 => Err("a quota of nothing lets nothing be done; leave the key out for no quota".into()),
        size => Ok(size),
    };
    let priority = |text: &str| match text {
        "normal" => Ok(false),
        "interactive" => Ok(true),
        _ => Err("a priority is \"normal\" or \"interactive\"".to_owned()),
    };
    let arena = |text: &str| {
        let size = units::size(text)?;
        let range = weir_devices::accel::MIN_ARENA..=weir_devices::accel::MAX_ARENA;
        match range.contains(&size) && size.is_multiple_of(4096) {
            true => Ok(size),
            false => Err("an arena has 4MiB to 64GiB, in steps of 4KiB".to_owned()),
        }
    };
    let count = |key, most: u64| -> Result<Option<u32>, ConfigError> {
        let number = table.number(key, 1..=most)?;
        Ok(number.and_then(|number| u32::try_from(number).ok()))
    };
    Ok(AcceleratorSpec {
        interactive: table
            .parsed("priority", "\"interactive\"", priority)?
            .unwrap_or(false),
        bytes_per_second: table.parsed("bytes_per_second", "\"1GiB\"", positive_size)?,
        clients: count("clients", u64::from(weir_devices::accel::MAX_CLIENTS))?,
        handles: count("handles", 1 << 20)?,
        queue_depth: count("queue_depth", 1 << 20)?,
        arena: table.parsed("arena", "\"1GiB\"", arena)?,
        name: name.into(),
        api: definition.api.clone(),
        platform: definition.platform.clone(),
        device: definition.device,
        policy: definition.policy,
        share: table.number("share", 1..=SHARE_MAX)?.unwrap_or(1) as u32,
        cap: table.parsed("cap", "\"50%\"", units::percent)?,
        memory: table.parsed("memory", "\"1GiB\"", positive_size)?,
        calls_per_second: table.number("calls_per_second", 1..=u64::MAX)?,
        timeout: table.parsed("timeout", "\"10s\"", units::duration)?,
    })
}

/// Checks that `bytes` is a size that a machine's memory may have.
pub fn memory_size(bytes: u64) -> Result<u64, String> {
    if bytes < layout::MEMORY_MIN {
        let least = layout::MEMORY_MIN >> 20;
        return Err(format!(
            "a machine needs at least {least}MiB to boot a stock kernel"
        ));
    }
    if !bytes.is_multiple_of(layout::MIB) {
        return Err("a machine's memory must be whole mebibytes".into());
    }
    Ok(bytes)
}

/// `path` seen from the configuration's folder; it must be there.
fn file(source: &Source, table: &Table<'_>, key: &str, path: &str) -> Result<PathBuf, ConfigError> {
    let path = source.file.parent().unwrap_or(Path::new("")).join(path);
    match std::fs::metadata(&path) {
        Ok(data) if data.is_dir() => {
            Err(table.error_at(key, format!("`{key}`: {} is a folder", path.display())))
        }
        Ok(_) => Ok(path),
        Err(error) => Err(table.error_at(
            key,
            format!("`{key}`: {} cannot be read: {error}", path.display()),
        )),
    }
}

/// Names stand in file names, messages and command lines.
fn check_name(source: &Source, named: &Named<'_>, kind: &str) -> Result<(), ConfigError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if named.name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && named.name.chars().all(allowed)
        && named.name.len() <= 64
    {
        return Ok(());
    }
    let message = format!(
        "`{}` is no name for [{kind}.NAME]: use at most 64 letters, digits, `-` and `_`",
        named.name
    );
    Err(source.error(named.span.clone(), message))
}

/// Refuses an image that one machine may write and another has too.
fn check_disks(top: &Table<'_>, vms: &[VmSpec]) -> Result<(), ConfigError> {
    let mut seen: BTreeMap<PathBuf, (&VmSpec, bool)> = BTreeMap::new();
    for vm in vms {
        for disk in &vm.disks {
            let path = disk
                .path
                .canonicalize()
                .unwrap_or_else(|_| disk.path.clone());
            let writes = !disk.read_only;
            match seen.get(&path) {
                Some((other, other_writes)) if writes || *other_writes => {
                    return Err(top.error_at(
                        "vm",
                        format!(
                            "machines `{}` and `{}` have the same disk {}, and one may write it; \
                             give each its own, or set read_only = true for both",
                            other.name,
                            vm.name,
                            disk.path.display()
                        ),
                    ));
                }
                _ => seen.insert(path, (vm, writes)),
            };
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
