//! An attachment of the machine definition: a small file of the host.

use std::{io, path::Path};

use bytes::Bytes;
use tokio::io::AsyncReadExt as _;
use tresor_model::{StreamName, StreamRecord};
use tresor_vault::StreamWriter;

use crate::{Error, ErrorKind};

/// Pieces of this many bytes are read at once.
const PIECE: usize = 1 << 20;

/// Moves a file into the vault. `writer` was opened with the size the file had then.
///
/// # Errors
/// When the file cannot be read whole (also when it shrank since): other streams may go on. Or the
/// vault fails.
pub async fn transfer_file(
    path: &Path,
    name: &StreamName,
    size: u64,
    mut writer: StreamWriter,
) -> Result<StreamRecord, Error> {
    let vault_error = |error| Error::new(ErrorKind::Vault(error), name);
    match copy(path, size, &mut writer).await {
        Ok(()) => {
            let (record, _) = writer.finish().await.map_err(vault_error)?;
            Ok(record)
        }
        Err(Failure::File(error)) => {
            // Other streams may rely on what this one has placed.
            writer.abandon().await.map_err(vault_error)?;
            let path = path.to_owned();
            Err(Error::new(ErrorKind::File { path, error }, name))
        }
        Err(Failure::Vault(error)) => Err(vault_error(error)),
    }
}

enum Failure {
    File(io::Error),
    Vault(tresor_vault::Error),
}

async fn copy(path: &Path, size: u64, writer: &mut StreamWriter) -> Result<(), Failure> {
    let mut file = tokio::fs::File::open(path).await.map_err(Failure::File)?;
    let mut offset = 0;
    while offset < size {
        let length = usize::try_from(size - offset).unwrap_or(PIECE).min(PIECE);
        let mut piece = vec![0; length];
        let read = file.read_exact(&mut piece).await;
        read.map_err(Failure::File)?;
        let written = writer.write(offset, Bytes::from(piece)).await;
        written.map_err(Failure::Vault)?;
        offset += length as u64;
    }
    Ok(())
}
