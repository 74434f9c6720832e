//! From the packaged kernel to one that QEMU boots without firmware work: the ELF image inside
//! the bzImage (PVH), and the few drivers that a guest needs, in the order to load them.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::process::{capture_bytes, tool};

/// What the guest's devices need; most are built in on some distributions.
const DRIVERS: &[&str] = &[
    "virtio_pci",
    "virtio_blk",
    "virtio_console",
    "virtio_net",
    "ext4",
];

/// Start of a compressed stream, and the program that unpacks it.
const STREAMS: &[(&[u8], &str)] = &[
    (b"\x02\x21\x4c\x18", "lz4"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\x1f\x8b\x08", "gzip"),
    (b"\xfd7zXZ\0", "xz"),
];

/// The one kernel of an unpacked package: `(bzImage, version)`.
pub(crate) fn find_image(root: &Path) -> Result<(PathBuf, String)> {
    let boot = root.join("boot");
    for entry in fs::read_dir(&boot).context("the kernel package has no /boot")? {
        let path = entry?.path();
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        if let Some(version) = name
            .as_deref()
            .and_then(|name| name.strip_prefix("vmlinuz-"))
        {
            return Ok((path.clone(), version.to_owned()));
        }
    }
    bail!("the kernel package has no /boot/vmlinuz-*")
}

/// The ELF image inside a bzImage. The magic of a stream may occur by chance: the first that
/// unpacks to an ELF file is it.
pub(crate) fn extract_elf(image: &[u8]) -> Result<Vec<u8>> {
    for (magic, program) in STREAMS {
        let places = image
            .windows(magic.len())
            .enumerate()
            .filter(|(_, window)| window == magic)
            .map(|(at, _)| at);
        for at in places {
            let unpacked = unpack(program, &image[at..])?;
            if unpacked.starts_with(b"\x7fELF") {
                return Ok(unpacked);
            }
        }
    }
    bail!("no compressed ELF image found in the kernel")
}

/// Unpacks as much as there is; what follows the stream makes the program complain, not fail us.
fn unpack(program: &str, stream: &[u8]) -> Result<Vec<u8>> {
    let mut child = Command::new(program)
        .arg("-dc")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot start {program}"))?;
    let mut input = child.stdin.take().context("no standard input")?;
    std::thread::scope(|scope| {
        // Ends early, and rightly so, when the program has seen enough.
        scope.spawn(move || drop(input.write_all(stream)));
        let output = child.wait_with_output()?;
        Ok(output.stdout)
    })
}

/// A driver to load.
pub(crate) struct Driver {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

/// The drivers with all they depend on, each after what it needs.
pub(crate) fn drivers(root: &Path, version: &str) -> Result<Vec<Driver>> {
    let base = ["lib/modules", "usr/lib/modules"]
        .map(|dir| root.join(dir).join(version))
        .into_iter()
        .find(|dir| dir.is_dir())
        .context("the kernel package has no modules")?;
    let builtin = fs::read_to_string(base.join("modules.builtin"))
        .context("the kernel package has no modules.builtin")?;
    let mut files = BTreeMap::new();
    collect(&base, &mut files)?;
    let mut order = Vec::new();
    for name in DRIVERS {
        add(name, &files, &builtin, &mut order)?;
    }
    Ok(order)
}

fn collect(dir: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            collect(&path, files)?;
        } else if let Some(name) = module_name(&path) {
            files.insert(name, path);
        }
    }
    Ok(())
}

/// `virtio_pci` for `…/virtio-pci.ko.xz`.
fn module_name(path: &Path) -> Option<String> {
    let file = path.file_name()?.to_str()?;
    let (stem, _) = file.split_once(".ko")?;
    Some(stem.replace('-', "_"))
}

fn add(
    name: &str,
    files: &BTreeMap<String, PathBuf>,
    builtin: &str,
    order: &mut Vec<Driver>,
) -> Result<()> {
    if order.iter().any(|driver| driver.name == name) {
        return Ok(());
    }
    let Some(path) = files.get(name) else {
        let known = builtin
            .lines()
            .any(|line| module_name(Path::new(line)).is_some_and(|built| built == name));
        if known {
            return Ok(());
        }
        bail!("the kernel has no driver {name}");
    };
    let bytes = read_module(path)?;
    for needed in depends(&bytes) {
        add(&needed, files, builtin, order)?;
    }
    order.push(Driver {
        name: name.to_owned(),
        bytes,
    });
    Ok(())
}

fn read_module(path: &Path) -> Result<Vec<u8>> {
    let program = match path.extension().and_then(|end| end.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        _ => return fs::read(path).with_context(|| format!("cannot read {}", path.display())),
    };
    capture_bytes(tool(program).arg("-dc").arg(path))
}

/// What a module says it needs: the `depends=` string among its module information.
fn depends(module: &[u8]) -> Vec<String> {
    let mark = b"\0depends=";
    let Some(at) = module.windows(mark.len()).position(|window| window == mark) else {
        return Vec::new();
    };
    let text = &module[at + mark.len()..];
    let end = text.iter().position(|byte| *byte == 0).unwrap_or(0);
    String::from_utf8_lossy(&text[..end])
        .split(',')
        .filter(|name| !name.is_empty())
        .map(|name| name.replace('-', "_"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_dependencies_are_normalised() {
        assert_eq!(
            module_name(Path::new("/x/virtio-pci.ko.xz")).as_deref(),
            Some("virtio_pci")
        );
        assert_eq!(module_name(Path::new("/x/modules.dep")), None);
        assert_eq!(
            depends(b"junk\0depends=virtio-ring,virtio\0more"),
            ["virtio_ring", "virtio"]
        );
        assert!(depends(b"\0depends=\0").is_empty());
    }
}
