//! The few differences between the databases.

use std::time::Duration;

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

/// For each connection to PostgreSQL. Who waits for a row hears of it, and what a machine that vanished had
/// begun is undone, so that its locks are free again. That a table is there already is no news.
const POSTGRES_CONNECTION: &[&str] = &[
    "SET client_min_messages = 'warning'",
    "SET lock_timeout = '30s'",
    "SET idle_in_transaction_session_timeout = '60s'",
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
            Self::Postgres => POSTGRES_CONNECTION,
        }
    }

    /// How long somebody waits for a connection. With SQLite behind writers, each of which may wait for its
    /// lock; with PostgreSQL for the server, and who asks is to hear soon that it is away.
    pub(crate) fn patience(self) -> Duration {
        match self {
            Self::Sqlite => Duration::from_secs(60),
            Self::Postgres => Duration::from_secs(8),
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

    /// Begins a transaction that reads one moment of the database, and writes nothing.
    pub(crate) fn begin_snapshot(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN DEFERRED",
            Self::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        }
    }

    /// The columns of the table `$1` in their order: `name` and `kind`.
    pub(crate) fn columns_of_table(self) -> &'static str {
        match self {
            Self::Sqlite => "SELECT name, type AS kind FROM pragma_table_info($1) ORDER BY cid",
            Self::Postgres => {
                "SELECT column_name::text AS name, data_type::text AS kind \
                 FROM information_schema.columns \
                 WHERE table_schema = current_schema() AND table_name = $1 ORDER BY ordinal_position"
            }
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

    /// Counts the tables beside which a catalog is to be, and those of them that each catalog has. `None`: the
    /// file itself says whose it is.
    pub(crate) fn count_tables(self) -> Option<&'static str> {
        match self {
            Self::Sqlite => None,
            Self::Postgres => Some(
                "SELECT count(*), count(*) FILTER (WHERE tablename IN ('schema_versions', 'vaults', 'jobs')) \
                 FROM pg_tables WHERE schemaname = current_schema()",
            ),
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
