//! The server certificate that the authority signs for its own service.

use std::sync::{Arc, PoisonError, RwLock};

use jiff::Timestamp;
use rustls::sign::CertifiedKey;

use crate::{
    Authority, Clock, Error, Names, Result,
    authority::{Key, SKEW, later},
    certificate::{self, two_thirds},
    tls,
};

/// A server certificate that is made anew when two thirds of its time are over, by whoever asks for
/// it then: signing takes less than a handshake. Its key is new each time and never on a disk.
#[derive(Debug)]
pub struct OwnCertificate {
    authority: Arc<Authority>,
    names: Names,
    clock: Arc<dyn Clock>,
    current: RwLock<Made>,
}

#[derive(Debug, Clone)]
struct Made {
    certified: Arc<CertifiedKey>,
    from: Timestamp,
    until: Timestamp,
}

impl OwnCertificate {
    /// The first one, for these names and addresses. Hosts do not look at them, API users do.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Crypto`].
    pub fn new(authority: Arc<Authority>, names: Names, clock: Arc<dyn Clock>) -> Result<Self> {
        let made = make(&authority, &names, clock.now())?;
        Ok(Self {
            authority,
            names,
            clock,
            current: RwLock::new(made),
        })
    }

    /// The one of now. `None` when its time is over and a new one cannot be made: then nobody is
    /// served, and the log says why.
    pub(super) fn current(&self) -> Option<Arc<CertifiedKey>> {
        let now = self.clock.now();
        let made = self.read();
        if now < two_thirds(made.from, made.until) && made.from <= now {
            return Some(made.certified);
        }
        match self.renew(now) {
            Ok(certified) => Some(certified),
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "no new server certificate"
                );
                (now <= made.until).then_some(made.certified)
            }
        }
    }

    fn read(&self) -> Made {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.clone()
    }

    fn renew(&self, now: Timestamp) -> Result<Arc<CertifiedKey>, Error> {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        // Another handshake may have been faster.
        if now >= two_thirds(current.from, current.until) || now < current.from {
            *current = make(&self.authority, &self.names, now)?;
            tracing::info!(until = %current.until, "a new server certificate");
        }
        Ok(Arc::clone(&current.certified))
    }
}

fn make(authority: &Authority, names: &Names, now: Timestamp) -> Result<Made> {
    let key = Key::generate()?;
    let (certificate, until) = authority.sign_server(names, &key.0, now)?;
    // The authority comes along: who knows it by its fingerprint alone finds it there.
    let chain = vec![certificate, authority.certificate().clone()];
    let certified = tls::certified(chain, certificate::pkcs8(&key.0))
        .map_err(|error| Error::crypto("the server's certificate cannot be used", error))?;
    Ok(Made {
        certified: Arc::new(certified),
        from: later(now, -SKEW),
        until,
    })
}
