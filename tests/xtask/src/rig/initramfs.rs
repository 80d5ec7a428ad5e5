//! The rig's initramfs: a static busybox, the modules, and the command to run.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use anyhow::{Context, Result};

use super::Options;
use crate::cpio::Archive;
use crate::kernels::Kernel;
use crate::layout::Layout;

/// Whatever of these the kernel has not built in is loaded before anything else.
const MODULES: &[&str] = &[
    "virtio_pci",
    "virtio_console",
    "virtio-rng",
    "virtiofs",
    "overlay",
    "irqbypass",
    "kvm",
    "kvm-amd",
];

/// Writes the archive that boots into `command`.
pub fn write(
    sink: impl Write,
    layout: &Layout,
    kernel: &Kernel,
    command: &[OsString],
    options: &Options,
) -> Result<()> {
    let mut archive = Archive::new(sink);
    archive.device("dev/console", 5, 1)?;
    archive.device("dev/null", 1, 3)?;
    archive.copy("bin/busybox", 0o755, Path::new("/bin/busybox"))?;
    archive.file("init", 0o755, include_bytes!("../../../rig/init"))?;
    archive.file("rig/main", 0o755, include_bytes!("../../../rig/main"))?;

    let mut order = Vec::new();
    for (number, module) in kernel.closure(MODULES)?.iter().enumerate() {
        let name = module.file_name().unwrap_or_default().to_string_lossy();
        let name = format!("{number:02}-{name}");
        archive.copy(&format!("modules/{name}"), 0o644, module)?;
        order.extend_from_slice(format!("{name}\n").as_bytes());
    }
    archive.file("modules/order", 0o644, &order)?;

    let mut settings = Vec::new();
    assign(
        &mut settings,
        OsStr::new("RELEASE"),
        OsStr::new(kernel.release()),
    );
    assign(
        &mut settings,
        OsStr::new("MODULES"),
        kernel.modules().as_os_str(),
    );
    archive.file("rig/settings", 0o644, &settings)?;

    let mut writable = Vec::new();
    for folder in std::iter::once(&layout.target()).chain(&options.writable) {
        let folder = folder
            .canonicalize()
            .with_context(|| format!("looking for {}", folder.display()))?;
        writable.extend_from_slice(folder.as_os_str().as_bytes());
        writable.push(b'\n');
    }
    archive.file("rig/writable", 0o644, &writable)?;
    archive.file("rig/command", 0o644, &script(command, options))?;
    archive.finish()?;
    Ok(())
}

/// The shell script that becomes the command.
fn script(command: &[OsString], options: &Options) -> Vec<u8> {
    let mut script = Vec::new();
    if options.stdin {
        script.extend_from_slice(b"# stdin\n");
    }
    let mut path = env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    let inherited = ["HOME", "USER", "LANG", "TERM"]
        .iter()
        .filter_map(|name| Some((OsString::from(name), env::var_os(name)?)));
    for (name, value) in [("PATH".into(), path), ("WEIR_RIG".into(), "1".into())]
        .into_iter()
        .chain(inherited)
        .chain(options.environment.iter().cloned())
    {
        script.extend_from_slice(b"export ");
        assign(&mut script, &name, &value);
    }
    script.extend_from_slice(b"cd ");
    quote(&mut script, options.directory.as_os_str());
    script.extend_from_slice(b" || exit 126\nexec");
    for word in command {
        script.push(b' ');
        quote(&mut script, word);
    }
    script.push(b'\n');
    script
}

fn assign(script: &mut Vec<u8>, name: &OsStr, value: &OsStr) {
    script.extend_from_slice(name.as_bytes());
    script.push(b'=');
    quote(script, value);
    script.push(b'\n');
}

/// Appends `word` so that a shell reads it as it is.
fn quote(script: &mut Vec<u8>, word: &OsStr) {
    let word = OsString::from(word).into_vec();
    script.push(b'\'');
    for byte in word {
        match byte {
            b'\'' => script.extend_from_slice(br"'\''"),
            byte => script.push(byte),
        }
    }
    script.push(b'\'');
}

#[cfg(test)]
mod tests {
    use super::quote;
    use std::ffi::OsStr;

    #[test]
    fn a_quoted_word_survives_the_shell() {
        let word = "it's $HOME `x` \"y\" \\ \n;";
        let mut script = b"printf %s ".to_vec();
        quote(&mut script, OsStr::new(word));
        let output = std::process::Command::new("sh")
            .arg("-c")
            .arg(String::from_utf8(script).unwrap())
            .output()
            .unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), word);
    }
}
