//! One disk or attachment, from the vault into a file.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tresor_model::{Extent, StreamRecord};
use tresor_vault::{ExtentKind, Fetch, Piece, StreamReader, Vault};

use super::{
    ImageFormat,
    file::{ImageFile, Writes},
    holder,
    journal::Journal,
    partial::{begin_partial, lock_partial, take_over_owner},
    qcow2,
};
use crate::{Error, ErrorKind};

/// Data is made durable and noted in windows of this many bytes.
const WINDOW: u64 = 64 << 20;

/// Reads of the vault that are under way at once, for each of two windows.
const FETCHES: usize = 4;

/// Where a stream goes.
#[derive(Debug, Clone)]
pub struct Target {
    /// The file.
    pub path: PathBuf,
    /// Its format.
    pub format: ImageFormat,
    /// Whether a file of this name may be replaced (when the restore is whole).
    pub overwrite: bool,
}

/// Counts for whoever watches a restore.
#[derive(Debug, Default)]
pub struct RestoreProgress {
    /// Bytes of the disk that were passed over.
    pub done: AtomicU64,
    /// Bytes of data that were read from the vault, verified and written.
    pub written: AtomicU64,
    /// Bytes that an earlier, interrupted restore had done.
    pub resumed: AtomicU64,
}

/// Restores a stream: every chunk verified, holes left where it is zero, durable when it returns.
///
/// # Errors
/// The target is untouched; what was written so far lies in `<target>.partial` and is used by the
/// next try.
pub async fn restore_stream(
    vault: &Vault,
    stream: &StreamRecord,
    target: &Target,
    progress: &RestoreProgress,
    cancel: &CancellationToken,
) -> Result<(), Error> {
    let file_error = |path: &Path| {
        let path = path.to_owned();
        move |error| Error::new(ErrorKind::File { path, error }, &stream.name)
    };
    check_target(target).map_err(|kind| Error::new(kind, &stream.name))?;
    let partial = with_suffix(&target.path, ".partial");
    let file = lock_partial(&partial).map_err(file_error(&partial))?;
    let file = file.ok_or_else(|| {
        let holder = "another restore".to_owned();
        let path = partial.clone();
        Error::new(ErrorKind::TargetInUse { path, holder }, &stream.name)
    })?;
    let journal =
        begin_partial(&file, &partial, stream, target.format).map_err(file_error(&partial))?;
    let file = ImageFile::over(file);
    let reader = vault
        .reader(stream)
        .map_err(|error| Error::new(ErrorKind::Vault(error), &stream.name))?;
    let image = Image {
        file,
        path: &partial,
        format: target.format,
        stream,
        reader,
    };

    let (done, ahead): (Vec<_>, Vec<_>) =
        windows_of(stream.size).partition(|window| journal.is_done(window.start));
    let resumed = done.iter().map(|window| window.length).sum();
    progress.resumed.store(resumed, Ordering::Relaxed);
    let mut ahead = ahead.into_iter();
    let fetch = |window: Extent| (window, image.reader.fetch(window, FETCHES));
    let mut noting = Noting::Idle(journal);
    let mut current = ahead.next().map(fetch);
    while let Some((window, pieces)) = current {
        // The next window is read while this one is written, and made durable while the next one is.
        current = ahead.next().map(fetch);
        match image.write_window(pieces, progress, cancel).await {
            Ok(false) => {}
            Ok(true) => {
                let noted = noting.begin(&image.file, window.start).await;
                noting = noted.map_err(file_error(&partial))?;
            }
            Err(error) => {
                // Nothing of ours holds the file any more when this returns. The error came first.
                let _noted = noting.end().await;
                return Err(error);
            }
        }
        progress.done.store(window.end(), Ordering::Relaxed);
    }
    let journal = noting.end().await.map_err(file_error(&partial))?;
    progress.done.store(stream.size, Ordering::Relaxed);
    image.write_metadata().await?;
    // Hours may have passed: somebody may have made the file meanwhile, or started a VM on it.
    check_target(target).map_err(|kind| Error::new(kind, &stream.name))?;
    take_over_owner(image.file.file(), &target.path);
    let publish = || -> io::Result<()> {
        image.file.sync_all()?;
        fs::rename(&partial, &target.path)?;
        journal.finish()?;
        File::open(parent(&target.path))?.sync_all()
    };
    publish().map_err(file_error(&target.path))
}

fn check_target(target: &Target) -> Result<(), ErrorKind> {
    let path = target.path.clone();
    match holder(&path) {
        Err(error) => Err(ErrorKind::File { path, error }),
        Ok(Some(holder)) => Err(ErrorKind::TargetInUse { path, holder }),
        Ok(None) if !target.overwrite && path.exists() => Err(ErrorKind::TargetExists(path)),
        Ok(None) => Ok(()),
    }
}

/// The windows of a disk.
fn windows_of(size: u64) -> impl Iterator<Item = Extent> {
    let starts = (0..size.div_ceil(WINDOW)).map(|number| number * WINDOW);
    starts.map(move |start| Extent::between(start, size.min(start + WINDOW)))
}

/// The journal, and the window that is made durable and noted right now.
enum Noting {
    Idle(Journal),
    Busy(JoinHandle<io::Result<Journal>>),
}

impl Noting {
    /// Waits for the window before, then begins with this one.
    async fn begin(self, file: &ImageFile, window: u64) -> io::Result<Self> {
        let mut journal = self.end().await?;
        let file = file.clone();
        Ok(Self::Busy(tokio::task::spawn_blocking(move || {
            file.sync_data()?;
            journal.note(window)?;
            Ok(journal)
        })))
    }

    async fn end(self) -> io::Result<Journal> {
        match self {
            Self::Idle(journal) => Ok(journal),
            Self::Busy(noting) => noting.await.map_err(io::Error::other)?,
        }
    }
}

struct Image<'a> {
    path: &'a Path,
    file: ImageFile,
    format: ImageFormat,
    stream: &'a StreamRecord,
    reader: StreamReader,
}

impl Image<'_> {
    /// Writes the data of a window; says whether there was any.
    async fn write_window(
        &self,
        mut pieces: Fetch,
        progress: &RestoreProgress,
        cancel: &CancellationToken,
    ) -> Result<bool, Error> {
        let mut writes = Writes::into(self.file.clone());
        let begun = self
            .write_pieces(&mut pieces, &mut writes, progress, cancel)
            .await;
        let written = writes.end().await;
        let any = begun?;
        written.map_err(|error| self.file_error(error))?;
        Ok(any)
    }

    async fn write_pieces(
        &self,
        pieces: &mut Fetch,
        writes: &mut Writes,
        progress: &RestoreProgress,
        cancel: &CancellationToken,
    ) -> Result<bool, Error> {
        let base = self.format.data_start(self.stream.size);
        let mut any = false;
        loop {
            let piece = tokio::select! {
                biased;
                () = cancel.cancelled() => {
                    return Err(Error::new(ErrorKind::Cancelled, &self.stream.name));
                }
                piece = pieces.next() => piece,
            };
            let Some(piece) = piece else { return Ok(any) };
            let Piece { offset, bytes } = piece.map_err(|error| self.vault_error(error))?;
            let length = bytes.len() as u64;
            let written = writes.begin(bytes, base + offset).await;
            written.map_err(|error| self.file_error(error))?;
            progress.written.fetch_add(length, Ordering::Relaxed);
            any = true;
        }
    }

    /// Writes what makes the file an image of its format.
    async fn write_metadata(&self) -> Result<(), Error> {
        if self.format == ImageFormat::Raw {
            return Ok(());
        }
        let mut metadata = qcow2::Metadata::new(self.stream.size);
        for table in 0..self.stream.size.div_ceil(qcow2::L2_SPAN) {
            let start = table * qcow2::L2_SPAN;
            let window = Extent::between(start, self.stream.size.min(start + qcow2::L2_SPAN));
            let extents = self.reader.extents(window).await;
            let extents = extents.map_err(|error| self.vault_error(error))?;
            let data: Vec<_> = extents
                .into_iter()
                .filter(|(_, kind)| *kind == ExtentKind::Data)
                .map(|(extent, _)| (extent.start, extent.end()))
                .collect();
            if let Some((at, bytes)) = metadata.l2_table(table, &data) {
                self.file
                    .write_at(&bytes, at)
                    .map_err(|error| self.file_error(error))?;
            }
        }
        let file = &self.file;
        let write = |metadata: &mut qcow2::Metadata| -> io::Result<()> {
            let (at, bytes) = metadata.l1_table();
            file.write_at(&bytes, at)?;
            for (at, bytes) in metadata.refcounts() {
                file.write_at(&bytes, at)?;
            }
            file.sync_data()?;
            file.write_at(&metadata.header(), 0)
        };
        write(&mut metadata).map_err(|error| self.file_error(error))
    }

    fn vault_error(&self, error: tresor_vault::Error) -> Error {
        Error::new(ErrorKind::Vault(error), &self.stream.name)
    }

    fn file_error(&self, error: io::Error) -> Error {
        let path = self.path.to_owned();
        Error::new(ErrorKind::File { path, error }, &self.stream.name)
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

pub(super) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
