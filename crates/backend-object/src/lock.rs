//! Whether what is put stays: Object Lock of S3.
//!
//! A delete of a locked object succeeds: it hides it behind a marker, and the version stays. So the
//! lock is tried on the version.

use tresor_backend::{Backend as _, Error, ErrorKind, ObjectName};

use crate::ObjectBackend;

/// What the store says of an object's retention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    /// `COMPLIANCE` or `GOVERNANCE`.
    pub mode: String,
    /// Until when, as the store writes it.
    pub until: String,
    version: Option<String>,
}

/// What came of removing a locked version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockTrial {
    /// The store refused.
    Enforced,
    /// It is gone: the lock is for show.
    Ignored,
    /// The store names no version to try.
    NotTried,
}

impl ObjectBackend {
    /// The lock on an object, which a bucket with default retention puts on all.
    ///
    /// # Errors
    /// When the object is not there or the store fails.
    pub async fn lock_of(&self, name: &ObjectName) -> Result<Option<Lock>, Error> {
        self.stat(name).await?;
        let mode = self.wire.header("x-amz-object-lock-mode");
        let until = self.wire.header("x-amz-object-lock-retain-until-date");
        let version = self.wire.header("x-amz-version-id");
        Ok(mode.zip(until).map(|(mode, until)| Lock {
            mode,
            until,
            version,
        }))
    }

    /// Tries to remove the locked version itself.
    ///
    /// # Errors
    /// When the store fails in another way than by refusing.
    pub async fn try_lock(&self, name: &ObjectName, lock: &Lock) -> Result<LockTrial, Error> {
        let (Some(direct), Some(version)) = (&self.direct, &lock.version) else {
            return Ok(LockTrial::NotTried);
        };
        let query = format!("?versionId={}", encode(version));
        match self.delete_directly(direct, name, &query).await {
            Ok(()) => Ok(LockTrial::Ignored),
            Err(error) if error.kind() == ErrorKind::Denied => Ok(LockTrial::Enforced),
            Err(error) => Err(error),
        }
    }
}

/// For a query: versions are opaque, and some stores' have `/`, `+` or `=` in them.
fn encode(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        match byte {
            b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_in_a_query() {
        assert_eq!(encode("aZ0-._~"), "aZ0-._~");
        assert_eq!(encode("a/b+c="), "a%2Fb%2Bc%3D");
    }
}
