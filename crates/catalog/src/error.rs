//! What can go wrong in the catalog.

use std::fmt;

use tresor_problem::{Kind, Problem};

/// What a name or an id stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Object {
    /// A vault, by name.
    Vault,
    /// A VM, by name.
    Vm,
    /// A recovery point, by id.
    Point,
    /// A host, by name or id.
    Host,
    /// A VM that was found, by id.
    Datasource,
    /// A policy, by name.
    Policy,
    /// A protected item, by its VM's name or id.
    ProtectedItem,
    /// A lease, by name.
    Lease,
    /// A token of the API, by name or id.
    Token,
    /// A token by which a host enrols; its hash is not told.
    Enrolment,
    /// A request that may come twice, by its key.
    Request,
    /// A notification, by id.
    Notification,
    /// A way by which notifications go out, by name.
    Channel,
    /// An entry of the audit log, by id.
    AuditEntry,
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vault => "vault",
            Self::Vm => "VM",
            Self::Point => "recovery point",
            Self::Host => "host",
            Self::Datasource => "datasource",
            Self::Policy => "policy",
            Self::ProtectedItem => "protected item",
            Self::Lease => "lease",
            Self::Token => "token",
            Self::Enrolment => "enrolment token",
            Self::Request => "request",
            Self::Notification => "notification",
            Self::Channel => "notification channel",
            Self::AuditEntry => "audit log entry",
        })
    }
}

/// The kind of a failure. The context of a [`CatalogError`] is the object's name or id for the
/// first five, and the place of the database for the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CatalogErrorKind {
    /// No such object.
    NotFound(Object),
    /// The name or the id is taken.
    AlreadyExists(Object),
    /// Something else refers to the object.
    InUse(Object),
    /// The object is not as the caller takes it to be: somebody else has changed it meanwhile.
    Conflict(Object),
    /// The lease under which the caller writes is another's by now.
    Fenced,
    /// Another process kept the database locked for too long.
    Busy,
    /// A newer Tresor made the database.
    VersionTooNew {
        /// Version of its schema.
        found: i64,
        /// The newest version this program knows.
        supported: i64,
    },
    /// The file is a database of another program.
    NotACatalog,
    /// What is stored does not make sense.
    Damaged,
    /// The database cannot be reached, read or written.
    Unusable,
}

type Source = Box<dyn std::error::Error + Send + Sync>;

/// A failed call of the catalog.
#[derive(Debug)]
pub struct CatalogError {
    /// What went wrong.
    pub kind: CatalogErrorKind,
    /// What it was about; see [`CatalogErrorKind`].
    pub context: String,
    source: Option<Source>,
}

impl CatalogError {
    pub(crate) fn new(kind: CatalogErrorKind, context: impl Into<String>) -> Self {
        Self {
            kind,
            context: context.into(),
            source: None,
        }
    }

    pub(crate) fn caused_by(mut self, source: impl Into<Source>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Sorts an error of the database at `place`.
    pub(crate) fn of_database(place: &str, error: sqlx::Error) -> Self {
        Self::new(sort(&error), place).caused_by(error)
    }
}

/// Codes of SQLite (primary result codes) and of PostgreSQL (SQLSTATE).
fn sort(error: &sqlx::Error) -> CatalogErrorKind {
    let sqlx::Error::Database(database) = error else {
        return match error {
            sqlx::Error::ColumnDecode { .. } => CatalogErrorKind::Damaged,
            _ => CatalogErrorKind::Unusable,
        };
    };
    let code = database.code().unwrap_or_default();
    match code.parse::<u32>().map(|code| code & 0xff) {
        _ if code == "55P03" || code == "40P01" => CatalogErrorKind::Busy,
        _ if code.len() == 5 => CatalogErrorKind::Unusable,
        Ok(5 | 6) => CatalogErrorKind::Busy,
        Ok(11 | 26) => CatalogErrorKind::Damaged,
        _ => CatalogErrorKind::Unusable,
    }
}

impl fmt::Display for CatalogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let context = &self.context;
        match self.kind {
            CatalogErrorKind::NotFound(object) => write!(f, "there is no {object} {context}"),
            CatalogErrorKind::AlreadyExists(object) => {
                write!(f, "there is a {object} {context} already")
            }
            CatalogErrorKind::InUse(object) => write!(f, "the {object} {context} is in use"),
            CatalogErrorKind::Conflict(object) => {
                write!(f, "the {object} {context} was changed meanwhile")
            }
            CatalogErrorKind::Fenced => write!(f, "the lease {context} is another's by now"),
            CatalogErrorKind::Busy => {
                write!(f, "another process keeps the database {context} locked")
            }
            CatalogErrorKind::VersionTooNew { found, supported } => write!(
                f,
                "a newer Tresor made the database {context}: its schema has version {found}, \
                 this program knows up to {supported}"
            ),
            CatalogErrorKind::NotACatalog => {
                write!(f, "{context} is a database of another program")
            }
            CatalogErrorKind::Damaged => write!(f, "the database {context} is damaged"),
            CatalogErrorKind::Unusable => write!(f, "the database {context} cannot be used"),
        }
    }
}

impl std::error::Error for CatalogError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn std::error::Error + 'static))
    }
}

impl From<&CatalogError> for Problem {
    fn from(error: &CatalogError) -> Self {
        let context = error.context.clone();
        let kind = match error.kind {
            CatalogErrorKind::NotFound(Object::Vault) => Kind::VaultNotFound { location: context },
            CatalogErrorKind::NotFound(Object::Vm) => Kind::VmNotFound { vm: context },
            CatalogErrorKind::NotFound(Object::Point) => Kind::PointNotFound { point: context },
            CatalogErrorKind::AlreadyExists(Object::Vm) => Kind::VmExists { vm: context },
            CatalogErrorKind::AlreadyExists(Object::Vault) => {
                Kind::VaultExists { location: context }
            }
            CatalogErrorKind::InUse(object) => Kind::ObjectInUse {
                object: object.to_string(),
                name: context,
            },
            CatalogErrorKind::NotFound(object) => Kind::ObjectNotFound {
                object: object.to_string(),
                name: context,
            },
            CatalogErrorKind::AlreadyExists(object) => Kind::ObjectExists {
                object: object.to_string(),
                name: context,
            },
            CatalogErrorKind::Conflict(object) => Kind::ObjectChanged {
                object: object.to_string(),
                name: context,
            },
            CatalogErrorKind::Fenced => Kind::ObjectChanged {
                object: Object::Lease.to_string(),
                name: context,
            },
            CatalogErrorKind::Busy
            | CatalogErrorKind::VersionTooNew { .. }
            | CatalogErrorKind::NotACatalog
            | CatalogErrorKind::Damaged
            | CatalogErrorKind::Unusable => {
                let reason = match std::error::Error::source(error) {
                    Some(source) => format!("{error} ({source})"),
                    None => error.to_string(),
                };
                let path = context;
                Kind::StateUnusable { path, reason }
            }
        };
        Self::caused_by(kind, error)
    }
}
