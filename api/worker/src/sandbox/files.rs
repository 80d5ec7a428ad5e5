//! What the worker may do with the files that it sees: Landlock.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};

use super::{SandboxError, paths, step};

/// The newest Landlock that is made use of. On an older kernel there is as much as it has.
const NEWEST: ABI = ABI::V6;

/// Restricts this process to reading what an accelerator needs and `read`, and writing `write`.
/// Returns whether the kernel does so: all that the first version of Landlock can, at the least.
pub(super) fn restrict(write: &[&Path], read: &[PathBuf]) -> Result<bool, SandboxError> {
    let reading = AccessFs::from_read(NEWEST);
    let using = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::ReadDir | AccessFs::IoctlDev;
    // Files and directories only: no devices, sockets or pipes.
    let writing = reading
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::MakeDir
        | AccessFs::MakeSym
        | AccessFs::RemoveFile
        | AccessFs::RemoveDir
        | AccessFs::Refer;
    let mut rules = Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?;
    for path in write {
        let opened = step("opening a writable directory", std::fs::File::open(path))?;
        rules = rules.add_rule(PathBeneath::new(opened, writing))?;
    }
    let proc = paths::PROC.iter().map(Path::new);
    for path in proc.chain(read.iter().map(PathBuf::as_path)) {
        rules = allow(rules, path, reading)?;
    }
    for path in paths::devices() {
        rules = allow(rules, &path, using)?;
    }
    let status = rules.restrict_self()?;
    Ok(status.ruleset != RulesetStatus::NotEnforced)
}

/// Allows `access` under `path`, if there is such a path; for a file, as much of it as makes sense.
fn allow(
    rules: landlock::RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<landlock::RulesetCreated, RulesetError> {
    match PathFd::new(path) {
        Ok(opened) => {
            let access = match path.is_dir() {
                true => access,
                false => access & AccessFs::from_file(NEWEST),
            };
            rules.add_rule(PathBeneath::new(opened, access))
        }
        Err(_) => Ok(rules), // not there: nothing to allow
    }
}
