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
/// When the file cannot be read whole (also when it shrank since), or the vault fails.
pub async fn transfer_file(
    path: &Path,
    name: &StreamName,
    size: u64,
    mut writer: StreamWriter,
) -> Result<StreamRecord, Error> {
    let file_error = |error: io::Error| {
        Error::new(ErrorKind::File { path: path.to_owned(), error }, name)
    };
    let vault_error = |error| Error::new(ErrorKind::Vault(error), name);
    let mut file = tokio::fs::File::open(path).await.map_err(file_error)?;
    let mut offset = 0;
    while offset < size {
        let length = usize::try_from(size - offset).unwrap_or(PIECE).min(PIECE);
        let mut piece = vec![0; length];
        file.read_exact(&mut piece).await.map_err(file_error)?;
        writer.write(offset, Bytes::from(piece)).await.map_err(vault_error)?;
        offset += length as u64;
    }
    let (record, _) = writer.finish().await.map_err(vault_error)?;
    Ok(record)
}
