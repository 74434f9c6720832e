//! Chunks as files, and indexes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::digest::{SHA256, digest};

/// Bytes of a chunk.
pub(crate) const CHUNK: usize = 4 << 20;
const INDEX: &str = "index";
/// Stands for a chunk of zeros in an index.
pub(crate) const ZEROS: Digest = [0; 32];

pub(crate) type Digest = [u8; 32];

/// The last backup: the size of the disk and the digest of each chunk.
#[derive(Debug, Clone)]
pub(crate) struct Index {
    pub(crate) size: u64,
    pub(crate) digests: Vec<Digest>,
}

pub(crate) struct Store {
    dir: PathBuf,
    key: LessSafeKey,
    secret: Digest,
}

impl Store {
    pub(crate) fn open(dir: &Path, key_file: &Path) -> Result<Self> {
        fs::create_dir_all(dir)?;
        let secret =
            fs::read(key_file).with_context(|| format!("no key file {}", key_file.display()))?;
        let secret = sha256(&[&secret])?;
        let key = UnboundKey::new(&AES_256_GCM, &secret).context("the key is of no use")?;
        Ok(Self {
            dir: dir.to_owned(),
            key: LessSafeKey::new(key),
            secret,
        })
    }

    /// The digest of a chunk; that of an encrypted one takes the key in, so that nobody can look for
    /// known content.
    pub(crate) fn digest(&self, plain: &[u8]) -> Result<Digest> {
        sha256(&[plain, &self.secret])
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        let name: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        self.dir.join("chunks").join(&name[..4]).join(name)
    }

    /// Stores a chunk unless it is there; gives the bytes that took.
    pub(crate) fn put(&self, digest: &Digest, plain: &[u8], scratch: &mut Vec<u8>) -> Result<u64> {
        let path = self.path(digest);
        if path.exists() {
            return Ok(0);
        }
        scratch.clear();
        let compressed = zstd::bulk::compress(plain, 1)?;
        let smaller = compressed.len() < plain.len();
        let coded = if smaller { &compressed } else { plain };
        scratch.push(u8::from(smaller));
        let mut nonce = [0; NONCE_LEN];
        nonce.copy_from_slice(&digest[..NONCE_LEN]);
        scratch.extend_from_slice(coded);
        let sealing = Nonce::assume_unique_for_key(nonce);
        let tag = self
            .key
            .seal_in_place_separate_tag(sealing, Aad::empty(), scratch)
            .context("cannot seal a chunk")?;
        scratch.extend_from_slice(tag.as_ref());
        let dir = path.parent().context("a chunk has a directory")?;
        fs::create_dir_all(dir)?;
        let temporary = path.with_extension("tmp");
        fs::write(&temporary, &scratch)?;
        fs::rename(&temporary, &path)?;
        Ok(scratch.len() as u64)
    }

    /// Reads a chunk of this length.
    pub(crate) fn get(&self, digest: &Digest, length: usize) -> Result<Vec<u8>> {
        let path = self.path(digest);
        let mut sealed =
            fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut nonce = [0; NONCE_LEN];
        nonce.copy_from_slice(&digest[..NONCE_LEN]);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let opened = self.key.open_in_place(nonce, Aad::empty(), &mut sealed);
        let opened = opened.with_context(|| format!("{} is damaged", path.display()))?;
        let (kind, coded) = opened.split_first().context("a chunk is empty")?;
        let plain = match kind {
            0 => coded.to_vec(),
            _ => zstd::bulk::decompress(coded, CHUNK)?,
        };
        ensure!(
            plain.len() == length,
            "{} has another length",
            path.display()
        );
        Ok(plain)
    }

    pub(crate) fn write_index(&self, index: &Index) -> Result<()> {
        let mut bytes = index.size.to_le_bytes().to_vec();
        bytes.extend(index.digests.iter().flatten());
        let temporary = self.dir.join("index.tmp");
        fs::write(&temporary, bytes)?;
        fs::rename(&temporary, self.dir.join(INDEX))?;
        rustix::fs::syncfs(File::open(&self.dir)?)?;
        Ok(())
    }

    pub(crate) fn read_index(&self) -> Result<Option<Index>> {
        let path = self.dir.join(INDEX);
        if !path.exists() {
            return Ok(None);
        }
        let bytes = fs::read(&path)?;
        let (size, digests) = bytes.split_first_chunk().context("the index is damaged")?;
        let digests = digests.chunks_exact(32).map(|digest| {
            let mut copy = ZEROS;
            copy.copy_from_slice(digest);
            copy
        });
        Ok(Some(Index {
            size: u64::from_le_bytes(*size),
            digests: digests.collect(),
        }))
    }
}

fn sha256(parts: &[&[u8]]) -> Result<Digest> {
    let mut out = ZEROS;
    let hash = if let [one] = parts {
        digest(&SHA256, one)
    } else {
        let mut context = aws_lc_rs::digest::Context::new(&SHA256);
        parts.iter().for_each(|part| context.update(part));
        context.finish()
    };
    out.copy_from_slice(hash.as_ref().get(..32).context("SHA-256 has 32 bytes")?);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_found_again_and_damage_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("key"), "secret").unwrap();
        let place = dir.path().join("store");
        let store = Store::open(&place, &dir.path().join("key")).unwrap();
        let plain: Vec<u8> = (0..100_000_u32).map(|n| (n % 7) as u8).collect();
        let digest = store.digest(&plain).unwrap();
        let mut scratch = Vec::new();
        assert!(store.put(&digest, &plain, &mut scratch).unwrap() > 0);
        assert_eq!(store.put(&digest, &plain, &mut scratch).unwrap(), 0);
        assert!(store.get(&digest, plain.len()).unwrap() == plain);
        let path = store.path(&digest);
        let mut bytes = fs::read(&path).unwrap();
        bytes[20] ^= 1;
        fs::write(&path, bytes).unwrap();
        assert!(store.get(&digest, plain.len()).is_err());
    }

    #[test]
    fn an_index_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("key"), "secret").unwrap();
        let store = Store::open(&dir.path().join("store"), &dir.path().join("key")).unwrap();
        assert!(store.read_index().unwrap().is_none());
        let index = Index {
            size: 9,
            digests: vec![[7; 32], ZEROS],
        };
        store.write_index(&index).unwrap();
        let read = store.read_index().unwrap().unwrap();
        assert_eq!((read.size, read.digests), (9, index.digests));
    }
}
