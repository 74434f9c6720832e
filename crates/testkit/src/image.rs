//! Disk images: making them, comparing them, checking the file system inside. Always by QEMU's and
//! e2fsprogs' own programs, never by the product's code.

use std::{
    fs::{self, File},
    io::{ErrorKind, Read},
    path::Path,
};

use anyhow::{Context, Result, bail};

use crate::{LONG, guest::DiskFormat, run};

/// The first place where two disks differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Difference {
    /// Bytes from the start of the disk. Where one disk is shorter, its length.
    pub offset: u64,
}

/// Compares what two images (raw or qcow2, told apart by their content) hold, byte by byte.
///
/// # Errors
/// One of them cannot be read.
pub async fn compare_images(a: &Path, b: &Path) -> Result<Option<Difference>> {
    let dir = tempfile::tempdir()?;
    let (raw_a, raw_b) = (dir.path().join("a"), dir.path().join("b"));
    let a = as_raw(a, &raw_a).await?;
    let b = as_raw(b, &raw_b).await?;
    tokio::task::spawn_blocking(move || first_difference(&a, &b)).await?
}

async fn as_raw(image: &Path, copy: &Path) -> Result<std::path::PathBuf> {
    match format_of(image)? {
        DiskFormat::Raw => Ok(image.to_path_buf()),
        DiskFormat::Qcow2 => {
            raw_copy(image, copy).await?;
            Ok(copy.to_path_buf())
        }
    }
}

/// Writes an image's content to a sparse raw file.
///
/// # Errors
/// `qemu-img convert` failed.
pub async fn raw_copy(image: &Path, raw: &Path) -> Result<()> {
    let format = format_of(image)?.name();
    let args = [
        "convert",
        "-f",
        format,
        "-O",
        "raw",
        text(image)?,
        text(raw)?,
    ];
    run("qemu-img", &args, LONG).await.map(drop)
}

/// By the first bytes: what is not qcow2 is raw.
fn format_of(image: &Path) -> Result<DiskFormat> {
    let mut magic = [0; 4];
    let mut file = File::open(image).with_context(|| format!("cannot open {}", image.display()))?;
    match file.read_exact(&mut magic) {
        Ok(()) if magic == *b"QFI\xfb" => Ok(DiskFormat::Qcow2),
        Ok(()) => Ok(DiskFormat::Raw),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(DiskFormat::Raw),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", image.display())),
    }
}

fn first_difference(a: &Path, b: &Path) -> Result<Option<Difference>> {
    const STEP: usize = 1 << 20;
    let (mut a, mut b) = (File::open(a)?, File::open(b)?);
    let (mut part_a, mut part_b) = (vec![0; STEP], vec![0; STEP]);
    let mut offset = 0_u64;
    loop {
        let length_a = fill(&mut a, &mut part_a)?;
        let length_b = fill(&mut b, &mut part_b)?;
        if part_a[..length_a] != part_b[..length_b] {
            let same = part_a[..length_a]
                .iter()
                .zip(&part_b[..length_b])
                .take_while(|(a, b)| a == b)
                .count();
            return Ok(Some(Difference {
                offset: offset + same as u64,
            }));
        }
        if length_a == 0 {
            return Ok(None);
        }
        offset += length_a as u64;
    }
}

/// Reads until the buffer is full or the file ends.
fn fill(file: &mut File, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..])? {
            0 => break,
            length => filled += length,
        }
    }
    Ok(filled)
}

/// Checks the ext4 file system that an image holds from its first byte on, changing nothing.
///
/// # Errors
/// `e2fsck -fn` found something, or could not run; the message has what it printed. A journal
/// that was not replayed is found too: an image of a frozen file system has none.
pub async fn check_ext4(image: &Path) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let raw = as_raw(image, &dir.path().join("raw")).await?;
    run("e2fsck", &["-fn", text(&raw)?], LONG).await.map(drop)
}

/// Makes a disk of `bytes` with an empty ext4 file system, or one that holds what is in `content`.
///
/// # Errors
/// `mkfs.ext4` or `qemu-img` failed.
pub async fn make_ext4(
    image: &Path,
    format: DiskFormat,
    bytes: u64,
    label: &str,
    content: Option<&Path>,
) -> Result<()> {
    let raw = image.with_extension("making");
    File::create(&raw)
        .and_then(|file| file.set_len(bytes))
        .with_context(|| format!("cannot make {}", raw.display()))?;
    // Everything is initialised now: a guest must not go on writing by itself after it booted.
    let lazy = "lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0";
    let mut args = vec!["-q", "-F", "-L", label, "-E", lazy];
    if let Some(content) = content {
        args.extend(["-d", text(content)?]);
    }
    args.push(text(&raw)?);
    run("mkfs.ext4", &args, LONG).await?;
    match format {
        DiskFormat::Raw => fs::rename(&raw, image)?,
        DiskFormat::Qcow2 => {
            let args = [
                "convert",
                "-f",
                "raw",
                "-O",
                "qcow2",
                text(&raw)?,
                text(image)?,
            ];
            run("qemu-img", &args, LONG).await?;
            fs::remove_file(&raw)?;
        }
    }
    Ok(())
}

fn text(path: &Path) -> Result<&str> {
    match path.to_str() {
        Some(text) => Ok(text),
        None => bail!("{} is not UTF-8", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_difference_is_found_across_formats() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a.qcow2"), dir.path().join("b"));
        make_ext4(&a, DiskFormat::Qcow2, 16 << 20, "x", None)
            .await
            .unwrap();
        raw_copy(&a, &b).await.unwrap();
        assert_eq!(compare_images(&a, &b).await.unwrap(), None);
        check_ext4(&a).await.unwrap();

        let mut bytes = fs::read(&b).unwrap();
        bytes[5_000_001] ^= 0xff;
        fs::write(&b, &bytes).unwrap();
        let found = compare_images(&a, &b).await.unwrap();
        assert_eq!(found, Some(Difference { offset: 5_000_001 }));

        fs::write(&b, &bytes[..5_000_000]).unwrap();
        let found = compare_images(&a, &b).await.unwrap();
        assert_eq!(found, Some(Difference { offset: 5_000_000 }));
    }

    #[tokio::test]
    async fn a_damaged_file_system_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("a");
        make_ext4(&image, DiskFormat::Raw, 16 << 20, "x", None)
            .await
            .unwrap();
        let mut bytes = fs::read(&image).unwrap();
        bytes[4096..20_000].fill(0x5a);
        fs::write(&image, &bytes).unwrap();
        assert!(check_ext4(&image).await.is_err());
    }
}
