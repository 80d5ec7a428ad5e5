//! The guest image and its initrds, made from the recipe in `resources/image/`.

use std::collections::hash_map::DefaultHasher;
use std::fs::{self, File, Permissions};
use std::hash::{Hash, Hasher};
use std::io::BufWriter;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cpio::Archive;
use crate::kernels::Kernel;
use crate::layout::Layout;
use crate::packages::{Apt, Release, Request};
use crate::process;
use crate::progress;

const PACKAGES: &str = include_str!("../../../resources/image/packages");
const PROVIDED: &str = include_str!("../../../resources/image/provided");
const MODULES: &str = include_str!("../../../resources/image/modules");
const INITRD_INIT: &str = include_str!("../../../resources/image/initrd-init");
const INIT: &str = include_str!("../../../resources/image/init");
const POWER_BUTTON: &str = include_str!("../../../resources/image/power-button");

/// Counts up when this file makes another image from the same recipe.
const VERSION: u32 = 1;

/// Makes the image unless it is there, and returns its path.
///
/// # Errors
/// When its packages cannot be had or the disk cannot be written.
pub fn prepare(layout: &Layout, apt: &Apt) -> Result<PathBuf> {
    let image = layout.guest().join("image.ext4");
    let archives = apt.fetch(&Request {
        name: "image",
        release: Release::Stable,
        packages: &words(PACKAGES),
        provided: &words(PROVIDED),
        only: &[],
        without: &[],
    })?;
    let recipe = digest(&(VERSION, &archives, INIT, POWER_BUTTON));
    let stamp = image.with_extension("recipe");
    if image.exists() && fs::read_to_string(&stamp).is_ok_and(|found| found == recipe) {
        return Ok(image);
    }
    progress::detail(format_args!(
        "building {} from {} packages",
        image.display(),
        archives.len()
    ));
    let tree = layout.guest().join("image.tree");
    let _ = fs::remove_dir_all(&tree);
    populate(&tree, &archives)?;
    write_disk(&tree, &image)?;
    fs::remove_dir_all(&tree).with_context(|| format!("removing {}", tree.display()))?;
    fs::write(&stamp, recipe).with_context(|| format!("writing {}", stamp.display()))?;
    Ok(image)
}

/// Makes the initrd for `kernel` unless it is there, and returns its path.
///
/// # Errors
/// When the kernel lacks a module of the recipe or the file cannot be written.
pub fn prepare_initrd(kernel: &Kernel) -> Result<PathBuf> {
    let initrd = kernel.folder().join("initrd.img");
    let recipe = digest(&(VERSION, kernel.release(), MODULES, INITRD_INIT));
    let stamp = initrd.with_extension("recipe");
    if initrd.exists() && fs::read_to_string(&stamp).is_ok_and(|found| found == recipe) {
        return Ok(initrd);
    }
    progress::detail(format_args!("building {}", initrd.display()));
    let lines = words(MODULES);
    let all: Vec<_> = lines
        .iter()
        .filter_map(|line| line.split(' ').next())
        .collect();
    let loaded: Vec<_> = lines
        .iter()
        .filter_map(|line| line.strip_suffix(" load"))
        .collect();

    // A folder of its own, so that depmod describes exactly what the guest gets.
    let staging = kernel.folder().join("initrd.tree");
    let _ = fs::remove_dir_all(&staging);
    let folder = format!("lib/modules/{}", kernel.release());
    let within = |module: &Path| -> Result<String> {
        let path = module.strip_prefix(kernel.modules())?;
        Ok(format!("{folder}/{}", path.display()))
    };
    for module in kernel.closure(&all)? {
        let to = staging.join(within(&module)?);
        fs::create_dir_all(to.parent().unwrap_or(&staging))?;
        fs::copy(&module, &to).with_context(|| format!("copying {}", module.display()))?;
    }
    for list in [
        "modules.builtin",
        "modules.builtin.modinfo",
        "modules.order",
    ] {
        fs::copy(
            kernel.modules().join(list),
            staging.join(&folder).join(list),
        )
        .with_context(|| format!("copying {list}"))?;
    }
    process::run(
        Command::new("/sbin/depmod")
            .arg("--basedir")
            .arg(&staging)
            .arg(kernel.release()),
    )?;

    let sink = File::create(&initrd).with_context(|| format!("creating {}", initrd.display()))?;
    let mut archive = Archive::new(BufWriter::new(sink));
    archive.device("dev/console", 5, 1)?;
    archive.copy("bin/busybox", 0o755, Path::new("/bin/busybox"))?;
    archive.file("init", 0o755, INITRD_INIT.as_bytes())?;
    let order = kernel
        .closure(&loaded)?
        .iter()
        .map(|module| Ok(format!("/{}\n", within(module)?)))
        .collect::<Result<String>>()?;
    archive.file("modules.order", 0o644, order.as_bytes())?;
    archive.tree(&folder, &staging.join(&folder))?;
    archive.finish()?;
    fs::remove_dir_all(&staging).with_context(|| format!("removing {}", staging.display()))?;
    fs::write(&stamp, recipe).with_context(|| format!("writing {}", stamp.display()))?;
    Ok(initrd)
}

/// Unpacks the packages into `tree` and does what their installation would have done.
fn populate(tree: &Path, archives: &[PathBuf]) -> Result<()> {
    for folder in ["bin", "sbin", "lib", "lib64"] {
        fs::create_dir_all(tree.join("usr").join(folder))?;
        symlink(format!("usr/{folder}"), tree.join(folder))?;
    }
    for archive in archives {
        // Not `dpkg-deb -x`: that would replace the links above by folders.
        process::run(
            Command::new("sh")
                .args([
                    "-c",
                    "dpkg-deb --fsys-tarfile \"$1\" | tar -x --keep-directory-symlink -C \"$2\"",
                ])
                .arg("sh")
                .arg(archive)
                .arg(tree),
        )?;
    }
    for folder in ["dev", "proc", "sys", "run", "tmp", "root", "weir"] {
        fs::create_dir_all(tree.join(folder))?;
    }
    for (path, text, mode) in [
        ("usr/sbin/init", INIT, 0o755),
        ("etc/acpi/PWRF/00000080", POWER_BUTTON, 0o755),
        (
            "etc/passwd",
            "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
            0o644,
        ),
        ("etc/group", "root:x:0:\nnogroup:x:65534:\n", 0o644),
        ("etc/hosts", "127.0.0.1 localhost weir\n", 0o644),
    ] {
        let to = tree.join(path);
        fs::create_dir_all(to.parent().unwrap_or(tree))?;
        fs::write(&to, text).with_context(|| format!("writing {}", to.display()))?;
        fs::set_permissions(&to, Permissions::from_mode(mode))?;
    }
    link_alternatives(tree)?;
    for waste in [
        "usr/share/doc",
        "usr/share/man",
        "usr/share/locale",
        "usr/share/info",
    ] {
        let _ = fs::remove_dir_all(tree.join(waste));
    }
    compile_python(tree)?;
    let mut ldconfig = if rustix::process::geteuid().is_root() {
        Command::new("/sbin/ldconfig")
    } else {
        let mut unshare = Command::new("unshare");
        unshare.args(["--map-root-user", "/sbin/ldconfig"]);
        unshare
    };
    process::run(ldconfig.arg("-r").arg(tree))
}

/// Sets the links that `update-alternatives` would have set.
fn link_alternatives(tree: &Path) -> Result<()> {
    let libraries = tree.join("usr/lib/x86_64-linux-gnu");
    for (folder, library) in [("blas", "libblas.so.3"), ("lapack", "liblapack.so.3")] {
        if libraries.join(folder).join(library).exists() && !libraries.join(library).exists() {
            symlink(format!("{folder}/{library}"), libraries.join(library))?;
        }
    }
    let awk = tree.join("usr/bin/awk");
    if !awk.exists() && tree.join("usr/bin/mawk").exists() {
        symlink("mawk", awk)?;
    }
    Ok(())
}

/// Compiles the image's Python files with the image's own Python: the guest cannot keep what it compiles,
/// and would do it again at every boot.
fn compile_python(tree: &Path) -> Result<()> {
    let libraries = tree.join("usr/lib/x86_64-linux-gnu");
    let Some(version) = fs::read_dir(tree.join("usr/bin"))?
        .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
        .find(|name| name.starts_with("python3.") && !name.contains('-'))
    else {
        bail!("the image has no Python");
    };
    let mut python = Command::new(tree.join("lib64/ld-linux-x86-64.so.2"));
    python
        .arg("--library-path")
        .arg(&libraries)
        .arg(tree.join("usr/bin").join(&version))
        .env("PYTHONHOME", tree.join("usr"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .args([
            "-m",
            "compileall",
            "-q",
            "-j",
            "0",
            "--invalidation-mode",
            "unchecked-hash",
            "-s",
        ])
        .arg(tree)
        .args(["-p", "/"]);
    for folder in [format!("usr/lib/{version}"), "usr/lib/python3".into()] {
        python.arg(tree.join(folder));
    }
    process::run(&mut python).context("compiling the image's Python files")
}

/// Writes `tree` onto a raw ext4 disk. Without a journal: it is never mounted for writing.
fn write_disk(tree: &Path, image: &Path) -> Result<()> {
    let used = process::capture(
        Command::new("du")
            .args(["-sk", "--apparent-size"])
            .arg(tree),
    )?;
    let files = process::capture(Command::new("find").arg(tree).args(["-printf", "."]))?.len();
    let used: u64 = used
        .split_whitespace()
        .next()
        .and_then(|figure| figure.parse().ok())
        .context("reading what du said")?;
    // Each file wastes half a block on average, and has an inode.
    let size = (used + 4 * files as u64) * 21 / 20 + 8192;
    let fresh = image.with_extension("new");
    let _ = fs::remove_file(&fresh);
    process::run(
        Command::new("/sbin/mke2fs")
            .args([
                "-q",
                "-F",
                "-t",
                "ext4",
                "-b",
                "4096",
                "-m",
                "0",
                "-L",
                "weir-guest",
            ])
            .args(["-O", "^has_journal,^resize_inode", "-E", "root_owner=0:0"])
            .args(["-N", &(files + 1024).to_string()])
            .arg("-d")
            .arg(tree)
            .arg(&fresh)
            .arg(format!("{size}k")),
    )?;
    fs::rename(&fresh, image).with_context(|| format!("moving {} into place", fresh.display()))
}

/// The lines of a list, without comments.
fn words(list: &'static str) -> Vec<&'static str> {
    list.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect()
}

/// Tells whether something was made from the same things; not for keeping longer than a cache.
fn digest(of: &impl Hash) -> String {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    format!("{:016x}\n", hasher.finish())
}
