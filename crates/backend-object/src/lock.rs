//! Whether what is put stays: S3's Object Lock.
//!
//! A bucket with Object Lock keeps versions. A plain DELETE of a locked object succeeds there: it
//! hides the object behind a marker, and the version stays, and its bytes. So [`delete`] looks first:
//! what is held is refused, not hidden, and what is not held is removed by its version, so that its
//! space is free. Only a bucket that says it has Object Lock is asked to hold anything: a server that
//! does not know the request could take it for a put of the object itself.
//!
//! [`delete`]: tresor_backend::Backend::delete

use std::time::SystemTime;

use http::Method;
use jiff::Timestamp;
use tresor_backend::{Error, ErrorKind, ObjectName, Retained};

use crate::connect::Direct;
use crate::direct::Ask;
use crate::wire::Seen;
use crate::{LockMode, ObjectBackend, Provider};

/// Versions of one name that a delete removes, one after the other. The vault makes one.
const MAX_VERSIONS: usize = 16;

/// What the store says of an object's retention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    /// `COMPLIANCE` or `GOVERNANCE`.
    pub mode: String,
    /// Until when, as the store writes it.
    pub until: String,
    version: Option<String>,
}

impl Lock {
    fn until(&self) -> Option<Timestamp> {
        self.until.parse().ok()
    }

    /// A date that cannot be read holds: nobody knows for how long.
    fn is_held(&self, now: Timestamp) -> bool {
        self.until().is_none_or(|until| until > now)
    }
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

/// What a HEAD tells of an object's version.
pub(crate) struct Head {
    version: Option<String>,
    lock: Option<Lock>,
    legal_hold: bool,
}

impl ObjectBackend {
    /// Where requests of S3 go; `None` for other providers.
    pub(crate) fn s3(&self) -> Option<&Direct> {
        let direct = self.direct.as_ref();
        direct.filter(|_| self.place.provider == Provider::S3)
    }

    /// Whether the bucket has Object Lock. Asked once.
    ///
    /// # Errors
    /// When the store fails, or these credentials may not ask.
    pub async fn has_object_lock(&self) -> Result<bool, Error> {
        let Some(direct) = self.s3() else {
            return Ok(false);
        };
        let asked = self.object_lock.get_or_try_init(|| async {
            let ask = Ask {
                operation: "retain_until",
                method: Method::GET,
                name: None,
                query: "?object-lock".to_owned(),
                body: String::new(),
            };
            match self.ask(direct, ask).await {
                Ok(answer) => Ok(says_enabled(&answer.body)),
                Err(refused) if is_unknown(refused.seen.as_ref()) => Ok(false),
                Err(refused) => Err(refused.error),
            }
        });
        asked.await.copied()
    }

    /// The lock on an object: its own, or the one that a bucket with default retention puts on all.
    ///
    /// # Errors
    /// When the object is not there or the store fails.
    pub async fn lock_of(&self, name: &ObjectName) -> Result<Option<Lock>, Error> {
        let Some(direct) = self.s3() else {
            return Ok(None);
        };
        Ok(self.head_of(direct, "stat", name, "").await?.lock)
    }

    /// Tries to remove the locked version itself.
    ///
    /// # Errors
    /// When the store fails in another way than by refusing.
    pub async fn try_lock(&self, name: &ObjectName, lock: &Lock) -> Result<LockTrial, Error> {
        let (Some(direct), Some(version)) = (self.s3(), &lock.version) else {
            return Ok(LockTrial::NotTried);
        };
        let version = of_version(version);
        match self.delete_directly(direct, name, &version).await {
            Ok(()) => Ok(LockTrial::Ignored),
            Err(error) if matches!(error.kind(), ErrorKind::Denied | ErrorKind::Retained) => {
                Ok(LockTrial::Enforced)
            }
            Err(error) => Err(error),
        }
    }

    /// Takes an object out of sight without removing what is held: a plain DELETE.
    ///
    /// # Errors
    /// When the store fails or refuses.
    pub async fn hide(&self, name: &ObjectName) -> Result<(), Error> {
        match self.s3() {
            Some(direct) => self.delete_directly(direct, name, "").await,
            None => tresor_backend::Backend::delete(self, name).await,
        }
    }

    /// `query` names a version, or is empty.
    pub(crate) async fn head_of(
        &self,
        direct: &Direct,
        operation: &'static str,
        name: &ObjectName,
        query: &str,
    ) -> Result<Head, Error> {
        let ask = Ask {
            operation,
            method: Method::HEAD,
            name: Some(name),
            query: query.to_owned(),
            body: String::new(),
        };
        let answer = self.ask(direct, ask).await?;
        let header = |name| answer.header(name).map(str::to_owned);
        let version = header("x-amz-version-id").filter(|version| version != "null");
        let mode = header("x-amz-object-lock-mode");
        let until = header("x-amz-object-lock-retain-until-date");
        Ok(Head {
            lock: mode.zip(until).map(|(mode, until)| Lock {
                mode,
                until,
                version: version.clone(),
            }),
            version,
            legal_hold: answer.header("x-amz-object-lock-legal-hold") == Some("ON"),
        })
    }

    /// Holds an object until then and reads it back.
    pub(crate) async fn hold(
        &self,
        name: &ObjectName,
        until: SystemTime,
    ) -> Result<Retained, Error> {
        const OPERATION: &str = "retain_until";
        let (Some(direct), Some(mode)) = (self.s3(), self.lock_mode) else {
            return Ok(Retained::NotSupported);
        };
        let fail = |kind| Error::new(kind, OPERATION, name.as_str());
        if !self.has_object_lock().await? {
            return Ok(Retained::NotSupported);
        }
        let until = whole_seconds(until).ok_or_else(|| fail(ErrorKind::Io))?;
        let there = self.head_of(direct, OPERATION, name, "").await?.lock;
        let Some(mode) = plan_hold(there.as_ref(), mode, until) else {
            return Ok(Retained::ByStore);
        };
        let ask = Ask {
            operation: OPERATION,
            method: Method::PUT,
            name: Some(name),
            query: "?retention".to_owned(),
            body: format!(
                "<Retention xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Mode>{}</Mode>\
                 <RetainUntilDate>{until}</RetainUntilDate></Retention>",
                mode.word()
            ),
        };
        self.ask(direct, ask).await?;
        let there = self.head_of(direct, OPERATION, name, "").await?.lock;
        match plan_hold(there.as_ref(), mode, until) {
            None => Ok(Retained::ByStore),
            Some(_) => Err(fail(ErrorKind::Unfit).because(
                "the store accepted the retention and does not show it again: it ignores it, or \
                 these credentials lack s3:GetObjectRetention",
            )),
        }
    }

    /// Removes what is not held, version by version.
    pub(crate) async fn remove(&self, direct: &Direct, name: &ObjectName) -> Result<(), Error> {
        for _ in 0..MAX_VERSIONS {
            let head = match self.head_of(direct, "delete", name, "").await {
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
                head => head?,
            };
            if let Some(held) = held(&head, Timestamp::now()) {
                let error = Error::new(ErrorKind::Retained, "delete", name.as_str());
                return Err(error.because(held));
            }
            let Some(version) = &head.version else {
                return self.delete_directly(direct, name, "").await;
            };
            let version = of_version(version);
            match self.delete_directly(direct, name, &version).await {
                // They may hide, not remove: the bucket's life cycle rules free the space.
                Err(error) if error.kind() == ErrorKind::Denied => {
                    return self.delete_directly(direct, name, "").await;
                }
                deleted => deleted?,
            }
        }
        let error = Error::new(ErrorKind::Io, "delete", name.as_str());
        Err(error.because("there is a version of it after each removal"))
    }
}

/// Why an object must stay, if so.
pub(crate) fn held(head: &Head, now: Timestamp) -> Option<String> {
    if head.legal_hold {
        return Some("the store has it under legal hold".to_owned());
    }
    let lock = head.lock.as_ref().filter(|lock| lock.is_held(now))?;
    Some(format!("{} until {}", lock.mode, lock.until))
}

/// In which mode to hold an object until then; `None` when it is held so already. A mode is never
/// weakened: the store would refuse that.
fn plan_hold(there: Option<&Lock>, mode: LockMode, until: Timestamp) -> Option<LockMode> {
    let Some(there) = there else {
        return Some(mode);
    };
    let strict = there.mode == LockMode::Compliance.word();
    let mode = if strict { LockMode::Compliance } else { mode };
    let long = there.until().is_some_and(|end| end >= until);
    (!long || there.mode != mode.word()).then_some(mode)
}

/// Stores keep whole seconds: never less than asked.
fn whole_seconds(until: SystemTime) -> Option<Timestamp> {
    let until = Timestamp::try_from(until).ok()?;
    let up = i64::from(until.subsec_nanosecond() > 0);
    Timestamp::from_second(until.as_second() + up).ok()
}

/// A server without Object Lock, or without the question.
fn is_unknown(seen: Option<&Seen>) -> bool {
    let Some(Seen::Answer { status, said }) = seen else {
        return false;
    };
    matches!(status.as_u16(), 400 | 404 | 405 | 501) && said.code != "NoSuchBucket"
}

/// A server that does not know the question answers another one.
fn says_enabled(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body);
    text.contains("<ObjectLockEnabled>Enabled</ObjectLockEnabled>")
}

pub(crate) fn of_version(version: &str) -> String {
    format!("?versionId={}", encode(version))
}

/// For a query: versions are opaque, and some stores' have `/`, `+` or `=` in them.
pub(crate) fn encode(text: &str) -> String {
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

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn lock(mode: &str, until: &str) -> Lock {
        Lock {
            mode: mode.to_owned(),
            until: until.to_owned(),
            version: None,
        }
    }

    #[test]
    fn versions_in_a_query() {
        assert_eq!(encode("aZ0-._~"), "aZ0-._~");
        assert_eq!(encode("a/b+c="), "a%2Fb%2Bc%3D");
    }

    #[test]
    fn a_hold_is_extended_and_never_weakened() {
        use LockMode::{Compliance, Governance};
        const LATE: &str = "2027-01-02T00:00:00.000Z";
        const EARLY: &str = "2026-12-31T23:59:59Z";
        let until = at("2027-01-01T00:00:00Z");
        for (there, mode, want) in [
            (None, Governance, Some(Governance)),
            (Some(lock("GOVERNANCE", LATE)), Governance, None),
            (
                Some(lock("GOVERNANCE", "2027-01-01T00:00:00Z")),
                Governance,
                None,
            ),
            (
                Some(lock("GOVERNANCE", EARLY)),
                Governance,
                Some(Governance),
            ),
            (Some(lock("GOVERNANCE", LATE)), Compliance, Some(Compliance)),
            (Some(lock("COMPLIANCE", LATE)), Governance, None),
            (
                Some(lock("COMPLIANCE", EARLY)),
                Governance,
                Some(Compliance),
            ),
            // Nobody knows what it means.
            (
                Some(lock("GOVERNANCE", "soon")),
                Governance,
                Some(Governance),
            ),
        ] {
            assert_eq!(plan_hold(there.as_ref(), mode, until), want, "{there:?}");
        }
    }

    #[test]
    fn what_holds_an_object() {
        let now = at("2027-01-01T00:00:00Z");
        let head = |lock, legal_hold| Head {
            version: None,
            lock,
            legal_hold,
        };
        let over = lock("COMPLIANCE", "2026-12-31T23:59:59Z");
        let on = lock("GOVERNANCE", "2027-01-01T00:00:01Z");
        assert_eq!(held(&head(None, false), now), None);
        assert_eq!(held(&head(Some(over.clone()), false), now), None);
        assert!(held(&head(Some(over), true), now).is_some());
        let said = held(&head(Some(on), false), now).unwrap();
        assert_eq!(said, "GOVERNANCE until 2027-01-01T00:00:01Z");
        assert!(held(&head(Some(lock("GOVERNANCE", "soon")), false), now).is_some());
    }

    #[test]
    fn parts_of_seconds_are_rounded_up() {
        let exact = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(9);
        let more = exact + std::time::Duration::from_nanos(1);
        assert_eq!(whole_seconds(exact).unwrap().as_second(), 9);
        assert_eq!(whole_seconds(more).unwrap().as_second(), 10);
    }

    #[test]
    fn only_a_bucket_that_says_so_has_object_lock() {
        for (body, want) in [
            (
                "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>",
                true,
            ),
            ("<ObjectLockConfiguration/>", false),
            (
                "<ListBucketResult><Name>bucket</Name></ListBucketResult>",
                false,
            ),
            ("", false),
        ] {
            assert_eq!(says_enabled(body.as_bytes()), want, "{body}");
        }
    }
}
