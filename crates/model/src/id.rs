//! Typed ids: a VM id cannot be passed where a job id is meant.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A text that is no id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a valid {kind}")]
pub struct IdError {
    kind: &'static str,
    text: String,
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Takes a UUID that was made elsewhere.
            #[must_use]
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The UUID.
            #[must_use]
            pub const fn as_uuid(&self) -> &Uuid {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Uuid::parse_str(text)
                    .map(Self)
                    .map_err(|_| IdError { kind: $kind, text: text.to_owned() })
            }
        }
    };
}

/// Ids that Tresor makes: version 7, so that their text sorts by creation time.
macro_rules! own_id {
    ($name:ident) => {
        impl $name {
            /// A new id. Its time part is a convenience for sorting, never trusted.
            #[must_use]
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }
        }
    };
}

uuid_id!(
    /// A VM, by the UUID its hypervisor gives it.
    VmId, "VM id"
);
uuid_id!(
    /// A vault.
    VaultId, "vault id"
);
uuid_id!(
    /// A writing session in a vault. A session that commits makes exactly one recovery point.
    SessionId, "session id"
);
uuid_id!(
    /// A recovery point: the id of the session that committed it.
    PointId, "recovery point id"
);
uuid_id!(
    /// A job.
    JobId, "job id"
);
uuid_id!(
    /// A hypervisor node.
    HostId, "host id"
);
uuid_id!(
    /// A token of the API.
    TokenId, "token id"
);
uuid_id!(
    /// An entry of the audit log.
    AuditId, "audit entry id"
);
uuid_id!(
    /// An alert.
    AlertId, "alert id"
);
uuid_id!(
    /// A notification.
    NotificationId, "notification id"
);
own_id!(VmId);
own_id!(VaultId);
own_id!(SessionId);
own_id!(JobId);
own_id!(HostId);
own_id!(TokenId);
own_id!(AuditId);
own_id!(AlertId);
own_id!(NotificationId);

impl VmId {
    /// What the id of an installation begins with: `tresor` in ASCII, then the version of a UUID whose bits
    /// have a meaning of their own. No hypervisor makes such a one.
    const DATABASE: [u8; 8] = *b"tresor\x8d\x62";

    /// A new id under which an installation keeps its own database in vaults (docs/format/database.md).
    #[must_use]
    pub fn generate_database() -> Self {
        let mut bytes = *Uuid::now_v7().as_bytes();
        bytes[..8].copy_from_slice(&Self::DATABASE);
        Self(Uuid::from_bytes(bytes))
    }

    /// Whether it is no VM's, but that of an installation's database.
    #[must_use]
    pub fn is_database(&self) -> bool {
        self.0.as_bytes()[..8] == Self::DATABASE
    }
}

impl From<SessionId> for PointId {
    fn from(session: SessionId) -> Self {
        Self(session.0)
    }
}

/// The mark on everything that a snapshot leaves in QEMU or on the host (invariant I5): node
/// names, bitmaps, exports and fleecing files are named `<tag>-<what>`.
///
/// QEMU limits node names to 31 bytes, so the tag is short: `tresor-` and 10 hex digits of the
/// job's id (its random part).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SnapshotTag(String);

impl SnapshotTag {
    /// What every tag, and so everything of ours, begins with.
    pub const PREFIX: &'static str = "tresor-";

    /// The tag of a job's snapshot.
    #[must_use]
    pub fn of_job(job: JobId) -> Self {
        let hex = job.0.simple().to_string();
        Self(format!("{}{}", Self::PREFIX, &hex[22..]))
    }

    /// The tag in a name of ours; `None` when the name is not ours.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        let digits = name.strip_prefix(Self::PREFIX)?.get(..10)?;
        let rest = &name[Self::PREFIX.len() + 10..];
        let ours = digits
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
            && (rest.is_empty() || rest.starts_with('-'));
        ours.then(|| Self(format!("{}{digits}", Self::PREFIX)))
    }

    /// `<tag>-<what>`; the caller keeps `what` within 13 bytes when the name is a node's.
    #[must_use]
    pub fn name(&self, what: &str) -> String {
        format!("{}-{what}", self.0)
    }

    /// The tag's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SnapshotTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The stable name of a disk within its VM, as users type it (`vda`, `system`, a qdev id).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StreamName(String);

impl StreamName {
    /// Checks and takes a name: 1 to 64 bytes of letters, digits, `-`, `_`, `.`, not starting
    /// with a dot, because restored files are named after it.
    ///
    /// # Errors
    /// [`IdError`] when the text is anything else.
    pub fn new(text: impl Into<String>) -> Result<Self, IdError> {
        let text = text.into();
        let good = (1..=64).contains(&text.len())
            && !text.starts_with('.')
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if good {
            Ok(Self(text))
        } else {
            Err(IdError {
                kind: "disk name",
                text,
            })
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for StreamName {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        Self::new(text)
    }
}

impl From<StreamName> for String {
    fn from(name: StreamName) -> Self {
        name.0
    }
}

impl FromStr for StreamName {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::new(text)
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_found_again_in_every_name_made_from_it() {
        let tag = SnapshotTag::of_job(JobId::generate());
        assert_eq!(SnapshotTag::of_name(&tag.name("cbw0")), Some(tag.clone()));
        assert!(tag.name("fleece-12345").len() <= 31);
    }

    #[test]
    fn foreign_names_are_never_ours() {
        for name in [
            "",
            "tresor",
            "tresor-",
            "tresor-backup-notes",
            "tresor-0123456789x",
            "libvirt-1-format",
        ] {
            assert_eq!(SnapshotTag::of_name(name), None, "{name}");
        }
    }

    #[test]
    fn disk_names_cannot_leave_their_directory() {
        assert!(StreamName::new("vda").is_ok());
        for name in ["", "..", ".x", "a/b", "a b", &"x".repeat(65)] {
            assert!(StreamName::new(name).is_err(), "{name}");
        }
    }
}
