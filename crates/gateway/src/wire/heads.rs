//! The heads of requests and answers: JSON.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tresor_channel::{Failure, failures};
use tresor_model::VaultId;

use super::{MANY, PREFIX, VAULT_NAME};

macro_rules! heads {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
        }
    )*};
}

heads! {
    /// `store.open`: asks for a vault.
    Open {
        /// Its name at the service.
        vault: String,
        /// The highest version of the methods that the host speaks.
        version: u16,
    }
    /// `store.put`: the object follows as the body.
    Put {
        /// The vault.
        vault: String,
        /// The object.
        name: String,
        /// Its size in bytes: exactly so many follow.
        size: u64,
    }
    /// `store.get`: a whole object.
    Get {
        /// The vault.
        vault: String,
        /// The object.
        name: String,
        /// Most bytes that the host takes.
        most: u64,
    }
    /// `store.range`: a part of an object.
    Range {
        /// The vault.
        vault: String,
        /// The object.
        name: String,
        /// First byte.
        start: u64,
        /// First byte behind the part.
        end: u64,
    }
    /// `store.many`: whole small objects.
    Many {
        /// The vault.
        vault: String,
        /// The objects, at most [`MANY`].
        names: Vec<String>,
        /// Most bytes of each that the host takes, at most [`super::MANY_OBJECT`].
        most: u64,
    }
    /// `store.stat`: the size of an object.
    Stat {
        /// The vault.
        vault: String,
        /// The object.
        name: String,
    }
    /// `store.list`: the objects whose names begin so.
    List {
        /// The vault.
        vault: String,
        /// What the names begin with.
        prefix: String,
    }
    /// `store.settle`: makes durable what the host sees below a prefix.
    Settle {
        /// The vault.
        vault: String,
        /// What the names begin with.
        prefix: String,
    }
}

macro_rules! answers {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
        }
    )*};
}

answers! {
    /// The answer to `store.open`.
    Opened {
        /// The version that both speak.
        version: u16,
        /// The vault's id.
        id: VaultId,
        /// Calls at once that make sense.
        parallelism: u16,
        /// Most bytes of an object that the service takes.
        largest: u64,
    }
    /// The answer to `store.get` and `store.range`, before the bytes, and to `store.stat`.
    Sized {
        /// Bytes of the object, or of the part.
        size: u64,
    }
    /// The answer to `store.list` and `store.many`, before the entries.
    Entries {
        /// How many follow.
        entries: u64,
    }
    /// The answer to `store.put` and `store.settle`: it is done, and durable.
    Nothing {}
}

/// A request of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is its head")]
pub enum Request {
    Open(Open),
    Put(Put),
    Get(Get),
    Range(Range),
    Many(Many),
    Stat(Stat),
    List(List),
    Settle(Settle),
    /// Something that destroys, or that no host has to do; the head is not looked at.
    Destroys,
}

impl Request {
    /// Reads a head, which the link has bounded.
    ///
    /// # Errors
    /// What to refuse the request with.
    pub fn decode(method: &str, head: &[u8]) -> Result<Self, Failure> {
        let request = match method.strip_prefix(PREFIX) {
            Some("open") => Self::Open(json(head)?),
            Some("put") => Self::Put(json(head)?),
            Some("get") => Self::Get(json(head)?),
            Some("range") => Self::Range(json(head)?),
            Some("many") => Self::Many(json(head)?),
            Some("stat") => Self::Stat(json(head)?),
            Some("list") => Self::List(json(head)?),
            Some("settle") => Self::Settle(json(head)?),
            Some("delete" | "sweep" | "retain" | "overwrite") => Self::Destroys,
            _ => {
                let text = format!("there is no method {method:?}");
                return Err(Failure::new(failures::METHOD_UNKNOWN, text));
            }
        };
        match &request {
            Self::Many(many) if many.names.len() > MANY => Err(malformed("too many names")),
            _ if request.vault().len() > VAULT_NAME => Err(malformed("a vault's name is too long")),
            _ => Ok(request),
        }
    }

    /// The vault that is meant.
    #[must_use]
    pub fn vault(&self) -> &str {
        match self {
            Self::Open(head) => &head.vault,
            Self::Put(head) => &head.vault,
            Self::Get(head) => &head.vault,
            Self::Range(head) => &head.vault,
            Self::Many(head) => &head.vault,
            Self::Stat(head) => &head.vault,
            Self::List(head) => &head.vault,
            Self::Settle(head) => &head.vault,
            Self::Destroys => "",
        }
    }

    /// The object or prefix that is meant; of several, the first.
    #[must_use]
    pub fn object(&self) -> &str {
        match self {
            Self::Put(head) => &head.name,
            Self::Get(head) => &head.name,
            Self::Range(head) => &head.name,
            Self::Many(head) => head.names.first().map_or("", String::as_str),
            Self::Stat(head) => &head.name,
            Self::List(head) => &head.prefix,
            Self::Settle(head) => &head.prefix,
            Self::Open(_) | Self::Destroys => "",
        }
    }
}

fn json<T: DeserializeOwned>(head: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(head).map_err(|error| malformed(&error.to_string()))
}

fn malformed(text: &str) -> Failure {
    Failure::new(failures::HEAD_MALFORMED, super::cut(text))
}

/// Reads the head of an answer, which the link has bounded.
///
/// # Errors
/// When it is not the one that is expected.
pub fn answer_head<T: DeserializeOwned>(head: &[u8]) -> Result<T, super::Malformed> {
    serde_json::from_slice(head).map_err(|_| super::Malformed("an answer's head is another one"))
}
