//! The few differences between the databases.

/// Which database is behind the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
}

/// Marks an SQLite file as ours: "Tres" in ASCII. Never changed.
const APPLICATION_ID: &str = "PRAGMA application_id = 1416783219";
pub(crate) const APPLICATION_ID_NUMBER: i64 = 1_416_783_219;

/// For each connection to SQLite. `FULL` because an acknowledged backup must survive a power cut;
/// 30 s because another process may be in a checkpoint on a slow disk.
const SQLITE_CONNECTION: &[&str] = &[
    "PRAGMA busy_timeout = 30000",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
];

impl Dialect {
    pub(crate) fn of_url(url: &str) -> Self {
        if url.starts_with("sqlite:") {
            Self::Sqlite
        } else {
            Self::Postgres
        }
    }

    /// Run on each new connection.
    pub(crate) fn on_connect(self) -> &'static [&'static str] {
        match self {
            Self::Sqlite => SQLITE_CONNECTION,
            Self::Postgres => &[],
        }
    }

    /// Begins a transaction that writes. SQLite must take its write lock here: a transaction that
    /// reads first and writes later fails at once when another process wrote in between.
    pub(crate) fn begin(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN IMMEDIATE",
            Self::Postgres => "BEGIN",
        }
    }

    /// Ends a query whose row must stay as it is until the transaction is over. In SQLite a transaction
    /// that writes is alone.
    pub(crate) fn holding_row(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => " FOR SHARE",
        }
    }

    /// Run first in the transaction that brings the schema up to date: one process at a time, and
    /// the file is marked as ours. (The number is arbitrary and ours alone.)
    pub(crate) fn lock_schema(self) -> &'static str {
        match self {
            Self::Sqlite => APPLICATION_ID,
            // In a sub-query, because the function returns `void`, which `Any` cannot decode.
            Self::Postgres => "SELECT 1 FROM (SELECT pg_advisory_xact_lock(1416783219)) AS locked",
        }
    }
}
