//! The file in which a machine notes what it wrote. Layout: docs/format/index-cache.md.
//!
//! # Invariants
//! - Records are only added; several processes add at once, each under the file's lock.
//! - Each record has its check: one that is torn or not whole is passed over.
//!
//! # After a crash
//! A record that did not arrive costs reading what it would have told of.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use tresor_model::VaultId;
use tresor_vault_format::PackId;

use super::Digest;

const NAME: &str = "written";
const RECORD: usize = 64;
const CHECK: usize = 8;
/// Largest list that is read: of four million packs.
const LIMIT: u64 = 256 << 20;

/// Something that this machine wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Record {
    Pack(PackId, Digest),
    Root(Digest),
}

impl Record {
    fn encode(&self, vault: VaultId) -> [u8; RECORD] {
        let mut out = [0; RECORD];
        let digest = match self {
            Self::Pack(pack, digest) => {
                out[0] = 1;
                out[8..24].copy_from_slice(&pack.0);
                digest
            }
            Self::Root(digest) => {
                out[0] = 2;
                digest
            }
        };
        out[24..56].copy_from_slice(digest);
        let check = check(&out[..RECORD - CHECK], vault);
        out[RECORD - CHECK..].copy_from_slice(&check);
        out
    }

    /// `None` when it is damaged, of another vault or of a kind that is not known.
    fn decode(bytes: &[u8; RECORD], vault: VaultId) -> Option<Self> {
        if bytes[RECORD - CHECK..] != check(&bytes[..RECORD - CHECK], vault) {
            return None;
        }
        let digest = *bytes[24..].first_chunk()?;
        match bytes[0] {
            1 => Some(Self::Pack(PackId(*bytes[8..].first_chunk()?), digest)),
            2 => Some(Self::Root(digest)),
            _ => None,
        }
    }
}

fn check(bytes: &[u8], vault: VaultId) -> [u8; CHECK] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(vault.as_uuid().as_bytes());
    hasher.update(bytes);
    let mut check = [0; CHECK];
    check.copy_from_slice(&hasher.finalize().as_bytes()[..CHECK]);
    check
}

/// The list of one vault.
#[derive(Debug)]
pub(super) struct List {
    path: PathBuf,
    vault: VaultId,
}

impl List {
    pub(super) fn in_dir(dir: &Path, vault: VaultId) -> Self {
        let path = dir.join(NAME);
        Self { path, vault }
    }

    /// All whole records; none where there is no list.
    pub(super) fn read(&self) -> io::Result<Vec<Record>> {
        match File::open(&self.path) {
            Ok(file) => self.records(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    fn records(&self, file: File) -> io::Result<Vec<Record>> {
        if file.metadata()?.len() > LIMIT {
            return Err(io::Error::other(
                "the list of what was written is too large",
            ));
        }
        let mut bytes = Vec::new();
        file.take(LIMIT).read_to_end(&mut bytes)?;
        let (whole, _) = bytes.as_chunks::<RECORD>();
        let records = whole.iter();
        Ok(records
            .filter_map(|record| Record::decode(record, self.vault))
            .collect())
    }

    pub(super) fn append(&self, record: &Record) -> io::Result<()> {
        let mut file = self.locked()?;
        let length = file.metadata()?.len();
        let torn = length % RECORD as u64;
        if torn != 0 {
            file.set_len(length - torn)?;
        }
        file.write_all(&record.encode(self.vault))
    }

    /// The file, for this process alone until it is dropped.
    fn locked(&self) -> io::Result<File> {
        if let Some(dir) = self.path.parent() {
            let mut builder = fs::DirBuilder::new();
            builder.recursive(true).mode(0o700).create(dir)?;
        }
        loop {
            let mut options = OpenOptions::new();
            options.read(true).append(true).create(true).mode(0o600);
            let file = options.open(&self.path)?;
            file.lock()?;
            // Else somebody has put another one in its place meanwhile.
            if file.metadata()?.nlink() > 0 {
                return Ok(file);
            }
        }
    }

    /// Leaves out packs that are not there any more, second notes, and all but the newest roots.
    pub(super) fn rewrite(
        &self,
        most_roots: usize,
        is_there: impl Fn(&PackId) -> bool,
    ) -> io::Result<()> {
        let file = self.locked()?;
        let records = self.records(file.try_clone()?)?;
        let is_root = |record: &&Record| matches!(record, Record::Root(_));
        let roots = records.iter().filter(is_root).count();
        let mut old = roots.saturating_sub(most_roots);
        let mut bytes = Vec::new();
        for record in &records {
            let kept = match record {
                Record::Pack(pack, _) => is_there(pack),
                Record::Root(_) if old > 0 => {
                    old -= 1;
                    false
                }
                Record::Root(_) => true,
            };
            if kept {
                bytes.extend_from_slice(&record.encode(self.vault));
            }
        }
        let new = self.path.with_extension("new");
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(true).mode(0o600);
        options.open(&new)?.write_all(&bytes)?;
        fs::rename(&new, &self.path)
    }
}
