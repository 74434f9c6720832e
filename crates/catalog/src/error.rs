//! What can go wrong in the catalog.

use std::fmt;

use tresor_problem::{Kind, Problem};

use crate::dialect::Dialect;

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
    /// The server of the database does not answer, or ended the connection. It may be back soon.
    Unreachable,
    /// The server does not let this program in, or not do what it must.
    Refused,
    /// No space is left for the database. Nothing was changed.
    Full,
    /// The database cannot be read or written.
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
    pub(crate) fn of_database(dialect: Dialect, place: &str, error: sqlx::Error) -> Self {
        Self::new(sort(dialect, &error), place).caused_by(error)
    }
}

/// Codes of SQLite (primary result codes) and of PostgreSQL (SQLSTATE).
fn sort(dialect: Dialect, error: &sqlx::Error) -> CatalogErrorKind {
    use sqlx::Error;
    match (error, dialect) {
        (Error::Database(database), Dialect::Sqlite) => {
            of_sqlite(&database.code().unwrap_or_default())
        }
        (Error::Database(database), Dialect::Postgres) => {
            of_postgres(&database.code().unwrap_or_default())
        }
        (Error::ColumnDecode { .. }, _) => CatalogErrorKind::Damaged,
        (Error::PoolTimedOut, Dialect::Sqlite) => CatalogErrorKind::Busy,
        (
            Error::Io(_) | Error::Tls(_) | Error::Protocol(_) | Error::PoolTimedOut,
            Dialect::Postgres,
        ) => CatalogErrorKind::Unreachable,
        _ => CatalogErrorKind::Unusable,
    }
}

fn of_sqlite(code: &str) -> CatalogErrorKind {
    let Ok(code) = code.parse::<u32>() else {
        return CatalogErrorKind::Unusable;
    };
    match code & 0xff {
        5 | 6 => CatalogErrorKind::Busy,
        11 | 26 => CatalogErrorKind::Damaged,
        13 => CatalogErrorKind::Full,
        // SQLITE_IOERR_SHMSIZE: the index of the journal does not get larger.
        10 if code == 4874 => CatalogErrorKind::Full,
        _ => CatalogErrorKind::Unusable,
    }
}

/// By class and code (<https://www.postgresql.org/docs/current/errcodes-appendix.html>).
fn of_postgres(code: &str) -> CatalogErrorKind {
    match code {
        // Lock not available, deadlock, serialization failure.
        "55P03" | "40P01" | "40001" => CatalogErrorKind::Busy,
        "53100" => CatalogErrorKind::Full,
        // Shutting down, starting, too many connections, and a server that only follows another one.
        "57P01" | "57P02" | "57P03" | "57P05" | "53300" | "25006" | "25P03" => {
            CatalogErrorKind::Unreachable
        }
        // No such database, no such schema, no privilege.
        "3D000" | "3F000" | "42501" => CatalogErrorKind::Refused,
        _ if code.starts_with("08") => CatalogErrorKind::Unreachable,
        _ if code.starts_with("28") => CatalogErrorKind::Refused,
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
            CatalogErrorKind::Unreachable => write!(f, "the database {context} is away"),
            CatalogErrorKind::Refused => write!(f, "the database {context} refuses this program"),
            CatalogErrorKind::Full => write!(f, "no space is left for the database {context}"),
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
            CatalogErrorKind::NotACatalog => Kind::DatabaseForeign { database: context },
            CatalogErrorKind::VersionTooNew { found, supported } => Kind::DatabaseVersionUnknown {
                database: context,
                found: found.to_string(),
                supported: supported.to_string(),
            },
            CatalogErrorKind::Unreachable => Kind::DatabaseUnreachable {
                database: context,
                reason: below(error),
            },
            CatalogErrorKind::Refused => Kind::DatabaseRefused {
                database: context,
                reason: below(error),
            },
            CatalogErrorKind::Full => Kind::DatabaseFull { database: context },
            CatalogErrorKind::Busy | CatalogErrorKind::Damaged | CatalogErrorKind::Unusable => {
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

/// What the database itself said.
fn below(error: &CatalogError) -> String {
    let source = std::error::Error::source(error);
    source.map_or_else(|| error.to_string(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_codes() {
        use CatalogErrorKind as K;
        for (code, expected) in [
            ("5", K::Busy),
            ("517", K::Busy),
            ("11", K::Damaged),
            ("13", K::Full),
            ("4874", K::Full),
            ("778", K::Unusable),
            ("", K::Unusable),
        ] {
            assert_eq!(of_sqlite(code), expected, "{code}");
        }
        for (code, expected) in [
            ("40P01", K::Busy),
            ("57P01", K::Unreachable),
            ("08006", K::Unreachable),
            ("28P01", K::Refused),
            ("3D000", K::Refused),
            ("53100", K::Full),
            ("42P01", K::Unusable),
        ] {
            assert_eq!(of_postgres(code), expected, "{code}");
        }
    }
}
