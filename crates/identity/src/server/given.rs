//! A certificate that an administrator gives, in PEM files that something else renews.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use rustls::sign::CertifiedKey;

use crate::{
    Clock, Error, ErrorKind, Result,
    certificate::{self, Facts},
    files::{self, Secrecy},
    tls,
};

/// A chain and its key, read again when the files change.
///
/// At most once in a while a handshake looks at the files (two `stat` calls). New ones are taken
/// only as a pair that fits, so it does not matter in which order they are written; until then, and
/// when they are damaged, the ones before stay, and the log says why.
#[derive(Debug)]
pub struct GivenFiles {
    chain: PathBuf,
    key: PathBuf,
    look_every: Duration,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    certified: Arc<CertifiedKey>,
    signs: [Sign; 2],
    looked: Instant,
}

/// What tells that a file is another one: inode, size, and time of change (ns).
type Sign = Option<(u64, u64, i64, i64)>;

impl GivenFiles {
    /// Loads them. `chain` has the server's certificate first, then those between it and its
    /// authority; `key` may be the same file.
    ///
    /// # Errors
    /// Each with its file: [`ErrorKind::Missing`], [`ErrorKind::Unreadable`],
    /// [`ErrorKind::ReadableByOthers`], [`ErrorKind::Damaged`], [`ErrorKind::KeyMismatch`],
    /// [`ErrorKind::Expired`].
    pub fn open(
        chain: &Path,
        key: &Path,
        look_every: Duration,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        // Before they are read: a change in between is seen by the next look.
        let signs = [sign(chain), sign(key)];
        let certified = Arc::new(load(chain, key, clock.now())?);
        Ok(Self {
            chain: chain.to_owned(),
            key: key.to_owned(),
            look_every,
            clock,
            state: Mutex::new(State {
                certified,
                signs,
                looked: Instant::now(),
            }),
        })
    }

    pub(super) fn current(&self) -> Arc<CertifiedKey> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.looked.elapsed() >= self.look_every {
            state.looked = Instant::now();
            self.look(&mut state);
        }
        Arc::clone(&state.certified)
    }

    fn look(&self, state: &mut State) {
        let signs = [sign(&self.chain), sign(&self.key)];
        if signs == state.signs {
            return;
        }
        // Also when they cannot be used: one line in the log a change, not one a look.
        state.signs = signs;
        match load(&self.chain, &self.key, self.clock.now()) {
            Ok(certified) => {
                state.certified = Arc::new(certified);
                tracing::info!(chain = %self.chain.display(), "the server certificate was replaced");
            }
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the server certificate was changed and cannot be used; the one before stays"
            ),
        }
    }
}

fn sign(path: &Path) -> Sign {
    let meta = fs::metadata(path).ok()?;
    Some((meta.ino(), meta.len(), meta.ctime(), meta.ctime_nsec()))
}

fn load(chain_path: &Path, key_path: &Path, now: Timestamp) -> Result<CertifiedKey> {
    let damaged = |path: &Path, what: String| Error::new(ErrorKind::Damaged, path, what);
    let pem = files::read(key_path, Secrecy::Private)?;
    let key = certificate::private_key(&pem).map_err(|what| damaged(key_path, what))?;
    let pem = files::read(chain_path, Secrecy::Public)?;
    let chain = certificate::certificates(&pem).map_err(|what| damaged(chain_path, what))?;
    let until = chain.first().and_then(|own| Facts::read(own));
    if let Some(until) = until
        .map(|facts| facts.not_after)
        .filter(|until| now > *until)
    {
        let what = format!("ended at {until}");
        return Err(Error::new(ErrorKind::Expired, chain_path, what));
    }
    tls::certified(chain, key).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            let what = format!(
                "is not the key of the certificate in {}",
                chain_path.display()
            );
            Error::new(ErrorKind::KeyMismatch, key_path, what)
        }
        error => damaged(key_path, "holds a key that cannot be used".to_owned()).caused_by(error),
    })
}
