//! Where keys come from, and the care with which key files are read.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use tresor_problem::{Kind, Problem};
use tresor_vault::KeyMaterial;
use zeroize::Zeroizing;

use crate::problems::{internal, usage};

/// Larger key files are refused.
const MAX_SIZE: u64 = 64 << 10;

/// Name of the systemd credential (`LoadCredential=tresor-key:…`).
const CREDENTIAL: &str = "tresor-key";

/// Which key was asked for; neither: the usual one.
#[derive(Debug, Clone, Default)]
pub struct KeyChoice {
    /// A file with a key or recovery key.
    pub key_file: Option<PathBuf>,
    /// A file with a passphrase.
    pub passphrase_file: Option<PathBuf>,
}

/// Finds the key for a vault: what was asked for, then the systemd credential, then the key file that
/// the catalog remembers.
///
/// # Errors
/// `VaultKeyMissing`, or what [`read_secret`] says.
pub fn find(
    choice: &KeyChoice,
    remembered: Option<&Path>,
    location: &str,
) -> Result<KeyMaterial, Problem> {
    if let Some(path) = &choice.passphrase_file {
        return passphrase(path);
    }
    let path = match (&choice.key_file, credential(), remembered) {
        (Some(path), _, _) => path.clone(),
        (None, Some(path), _) => path,
        (None, None, Some(path)) => path.to_owned(),
        (None, None, None) => {
            return Err(Kind::VaultKeyMissing {
                location: location.to_owned(),
            }
            .into());
        }
    };
    Ok(KeyMaterial::KeyFile(read_secret(&path)?))
}

/// A new key for a key file: 256 random bits, as text that survives copying.
///
/// # Errors
/// When the system gives no random numbers.
pub fn generate() -> Result<Zeroizing<Vec<u8>>, Problem> {
    let mut random = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *random)
        .map_err(|error| internal(format!("The system gives no random numbers: {error}.")))?;
    let hex: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Zeroizing::new(format!("{hex}\n").into_bytes()))
}

/// Reads a passphrase: the file's text without the line end.
///
/// # Errors
/// What [`read_secret`] says; a text that is not UTF-8 or is empty is a usage error.
pub fn passphrase(path: &Path) -> Result<KeyMaterial, Problem> {
    let bytes = read_secret(path)?;
    let text = std::str::from_utf8(&bytes).map(|text| text.trim_end_matches(['\r', '\n']));
    match text {
        Ok(text) if !text.is_empty() => {
            Ok(KeyMaterial::Passphrase(Zeroizing::new(text.to_owned())))
        }
        _ => Err(usage(&format!(
            "{} holds no passphrase: one line of text.",
            path.display()
        ))),
    }
}

fn credential() -> Option<PathBuf> {
    let path = PathBuf::from(std::env::var_os("CREDENTIALS_DIRECTORY")?).join(CREDENTIAL);
    path.exists().then_some(path)
}

/// Reads a secret from a file that only its owner (this user or root) can read.
///
/// # Errors
/// `VaultKeyFileUnsafe`, or a usage error.
pub fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let unreadable = |error: io::Error| {
        usage(&format!(
            "The key file {} cannot be read: {error}.",
            path.display()
        ))
    };
    let file = File::open(path).map_err(unreadable)?;
    let meta = file.metadata().map_err(unreadable)?;
    let mode = meta.mode() & 0o777;
    let own = meta.uid() == rustix::process::geteuid().as_raw() || meta.uid() == 0;
    if mode & 0o077 != 0 || !own {
        let mode = format!("{mode:04o} and owner {}", meta.uid());
        return Err(Kind::VaultKeyFileUnsafe {
            path: path.display().to_string(),
            mode,
        }
        .into());
    }
    if meta.len() > MAX_SIZE {
        return Err(usage(&format!(
            "{} is too large for a key file.",
            path.display()
        )));
    }
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(MAX_SIZE)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    Ok(bytes)
}

/// Writes a new key file, readable by its owner only, durable when it returns. Never replaces one.
///
/// # Errors
/// What the system says.
pub fn write_key_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(dir)?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(content)?;
    file.sync_all()?;
    File::open(dir)?.sync_all()
}
