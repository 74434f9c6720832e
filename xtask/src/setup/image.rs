//! What a guest boots from: kernel, first root, system disk, data disk. Made again when anything
//! that goes in has changed, and only then.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use tresor_testkit::{DiskFormat, make_ext4};

use super::{cpio::Cpio, debs::Unpacked, kernel};
use crate::{
    process::{capture, tool},
    term::say,
};

/// Raised when this file changes what it makes.
const VERSION: u32 = 1;
const SYSTEM_BYTES: u64 = 256 << 20;
const DATA_BYTES: u64 = 512 << 20;
const FILES: &[&str] = &["vmlinux", "initrd", "system.qcow2", "data.qcow2"];

/// The finished files.
pub(crate) struct Images {
    /// Changes with anything that went in.
    pub(crate) stamp: String,
    pub(crate) dir: PathBuf,
}

/// Makes what is not there or no longer fits.
pub(crate) async fn build(
    workspace: &Path,
    guest_dir: &Path,
    unpacked: &Unpacked,
    workload: &Path,
) -> Result<Images> {
    let dir = guest_dir.join("image");
    let stamp = stamp(workspace, guest_dir, workload)?;
    let stamp_file = guest_dir.join("image.stamp");
    let fits = fs::read_to_string(&stamp_file).is_ok_and(|text| text == stamp);
    if fits && FILES.iter().all(|file| dir.join(file).is_file()) {
        return Ok(Images { stamp, dir });
    }
    say("making the guest's kernel, first root and disks");
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    // States saved from earlier images are of no use any more.
    let states = guest_dir.join("states");
    if states.exists() {
        fs::remove_dir_all(states)?;
    }
    fs::create_dir_all(&dir)?;
    first_root(workspace, unpacked, &dir)?;
    let root = guest_dir.join("root");
    stage_root(workspace, unpacked, workload, &root)?;
    let system = dir.join("system.qcow2");
    make_ext4(
        &system,
        DiskFormat::Qcow2,
        SYSTEM_BYTES,
        "system",
        Some(&root),
    )
    .await?;
    let data = dir.join("data.qcow2");
    make_ext4(&data, DiskFormat::Qcow2, DATA_BYTES, "data", None).await?;
    fs::write(&stamp_file, &stamp)?;
    Ok(Images { stamp, dir })
}

/// A hash over everything that goes in.
fn stamp(workspace: &Path, guest_dir: &Path, workload: &Path) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&VERSION.to_le_bytes());
    for name in ["kernel.stamp", "userland.stamp"] {
        hasher.update(&fs::read(guest_dir.join(name))?);
    }
    hasher.update(&fs::read(workload).context("the guest's program was not built")?);
    hash_tree(&workspace.join("guest"), &mut hasher)?;
    Ok(hasher.finalize().to_hex().to_string())
}

fn hash_tree(dir: &Path, hasher: &mut blake3::Hasher) -> Result<()> {
    for path in sorted(dir)? {
        hasher.update(path.to_string_lossy().as_bytes());
        if path.is_dir() {
            hash_tree(&path, hasher)?;
        } else {
            hasher.update(&path.metadata()?.permissions().mode().to_le_bytes());
            hasher.update(&fs::read(&path)?);
        }
    }
    Ok(())
}

fn sorted(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))? {
        paths.push(entry?.path());
    }
    paths.sort();
    Ok(paths)
}

/// `vmlinux` and `initrd`.
fn first_root(workspace: &Path, unpacked: &Unpacked, dir: &Path) -> Result<()> {
    let (bzimage, version) = kernel::find_image(&unpacked.kernel)?;
    let image = fs::read(&bzimage)?;
    fs::write(dir.join("vmlinux"), kernel::extract_elf(&image)?)?;

    let mut archive = Cpio::default();
    for name in ["bin", "modules", "proc", "sys", "dev", "root"] {
        archive.dir(name);
    }
    archive.file("init", &fs::read(workspace.join("guest/initramfs/init"))?);
    archive.file("bin/busybox", &fs::read(busybox(&unpacked.userland)?)?);
    let mut order = String::new();
    for driver in kernel::drivers(&unpacked.kernel, &version)? {
        archive.file(&format!("modules/{}.ko", driver.name), &driver.bytes);
        order.push_str(&format!("{}.ko\n", driver.name));
    }
    archive.file("modules/order", order.as_bytes());
    fs::write(dir.join("initrd"), archive.finish())?;
    Ok(())
}

fn busybox(userland: &Path) -> Result<PathBuf> {
    ["bin/busybox", "usr/bin/busybox"]
        .map(|path| userland.join(path))
        .into_iter()
        .find(|path| path.is_file())
        .context("the package busybox-static has no busybox")
}

/// The content of the system disk.
fn stage_root(workspace: &Path, unpacked: &Unpacked, workload: &Path, root: &Path) -> Result<()> {
    if root.exists() {
        fs::remove_dir_all(root)?;
    }
    for dir in [
        "bin", "sbin", "usr/bin", "usr/sbin", "dev", "proc", "sys", "run", "tmp", "root", "data",
        "var", "lib64", "usr/lib",
    ] {
        fs::create_dir_all(root.join(dir))?;
    }
    symlink("/run", root.join("var/run"))?;
    copy_tree(&workspace.join("guest/root"), root)?;
    let hooks = root.join("etc/tresor/fsfreeze-hook.d");
    copy_tree(&workspace.join("guest/hook.d"), &hooks)?;
    let hook = root.join("etc/tresor/fsfreeze-hook");
    copy_program(&workspace.join("guest/fsfreeze-hook"), &hook)?;
    copy_program(workload, &root.join("usr/bin/tresor-workload"))?;
    install_busybox(&busybox(&unpacked.userland)?, root)?;
    install_agent(&unpacked.userland, root)
}

/// Busybox, and a link for each of its commands.
fn install_busybox(busybox: &Path, root: &Path) -> Result<()> {
    copy_program(busybox, &root.join("bin/busybox"))?;
    for command in capture(tool(busybox).arg("--list-full"))?.lines() {
        let link = root.join(command);
        if let Some(parent) = link.parent() {
            fs::create_dir_all(parent)?;
        }
        if !link.exists() && command != "bin/busybox" {
            symlink("/bin/busybox", &link)?;
        }
    }
    Ok(())
}

/// The QEMU guest agent with the libraries that its loader names.
fn install_agent(userland: &Path, root: &Path) -> Result<()> {
    let agent = userland.join("usr/sbin/qemu-ga");
    let library_dirs = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"]
        .map(|dir| userland.join(dir).display().to_string())
        .join(":");
    let loader = [
        "usr/lib64",
        "lib64",
        "usr/lib/x86_64-linux-gnu",
        "lib/x86_64-linux-gnu",
    ]
    .map(|dir| userland.join(dir).join("ld-linux-x86-64.so.2"))
    .into_iter()
    .find(|path| fs::canonicalize(path).is_ok_and(|real| real.is_file()))
    .context("the package libc6 has no loader")?;
    let listed = capture(
        tool(&loader)
            .args(["--inhibit-cache", "--library-path", &library_dirs, "--list"])
            .arg(&agent),
    )
    .context("the guest agent's libraries are not all there")?;
    copy_program(&agent, &root.join("usr/sbin/qemu-ga"))?;
    copy_program(&loader, &root.join("lib64/ld-linux-x86-64.so.2"))?;
    let libraries = root.join("usr/lib/x86_64-linux-gnu");
    fs::create_dir_all(&libraries)?;
    for line in listed.lines() {
        let Some((name, rest)) = line.trim().split_once(" => ") else {
            continue;
        };
        let path = rest.split(" (").next().unwrap_or(rest);
        let name = Path::new(name)
            .file_name()
            .context("a library has no name")?;
        copy_program(Path::new(path), &libraries.join(name))?;
    }
    Ok(())
}

fn copy_program(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to)
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// Copies files and directories; keeps modes.
fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for path in sorted(from)? {
        let target = to.join(path.file_name().context("a path without a name")?);
        if path.is_dir() {
            copy_tree(&path, &target)?;
        } else {
            fs::copy(&path, &target)?;
        }
    }
    Ok(())
}
