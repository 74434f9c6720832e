//! Opens the catalog, and refuses what is not one.

use std::{
    fmt::Write as _,
    fs::{DirBuilder, OpenOptions},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{DirBuilderExt as _, OpenOptionsExt as _},
    },
    path::Path,
    sync::Once,
};

use sqlx::{
    AnyConnection, AnyPool, Connection as _, Executor as _, Row as _,
    any::{AnyPoolOptions, AnyRow, install_default_drivers},
};

use tokio::time::timeout;

use crate::{
    CatalogError, CatalogErrorKind, DatabaseUrl, Fence,
    dialect::{APPLICATION_ID_NUMBER, Dialect},
    row::Columns,
    schema,
};

/// Connections of one process. Readers run beside the one writer that SQLite has.
const CONNECTIONS: u32 = 4;

/// The catalog of one installation. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Catalog {
    pub(crate) pool: AnyPool,
    pub(crate) dialect: Dialect,
    /// Where it lies, for messages.
    pub(crate) place: String,
    /// Without this lease nothing is written.
    pub(crate) fence: Option<Fence>,
}

impl Catalog {
    /// Opens the SQLite catalog at `path`; makes it (mode 0600) and its directory (0700) when they
    /// are missing.
    ///
    /// # Errors
    /// `Unusable`, `Damaged`, `NotACatalog`, `VersionTooNew`, `Busy`. In all of these cases the
    /// file that is there is left as it is.
    pub async fn open(path: &Path) -> Result<Self, CatalogError> {
        let place = path.display().to_string();
        create_file(path).map_err(|error| {
            CatalogError::new(CatalogErrorKind::Unusable, &place).caused_by(error)
        })?;
        let url = sqlite_url(path);
        inspect(&format!("{url}?mode=ro"), &place).await?;
        Self::connect(&url, place).await
    }

    /// Opens the catalog in a PostgreSQL database; makes it where there is nothing yet.
    ///
    /// # Errors
    /// `Unreachable`, `Refused`, `NotACatalog`, `VersionTooNew`, and what [`Catalog::open`] says. In all of
    /// these cases the database is left as it is.
    pub async fn open_shared(url: &DatabaseUrl) -> Result<Self, CatalogError> {
        install_drivers();
        let place = url.place();
        // The pool would try again and again, and forget why it failed.
        let asked = timeout(
            Dialect::Postgres.patience(),
            AnyConnection::connect(url.secret()),
        );
        let failed = |error| CatalogError::of_database(Dialect::Postgres, &place, error);
        match asked.await {
            Ok(connected) => {
                let closed = connected.map_err(failed)?.close().await;
                closed.map_err(failed)?;
            }
            Err(_) => {
                let silent = CatalogError::new(CatalogErrorKind::Unreachable, place);
                return Err(silent.caused_by("it does not answer"));
            }
        }
        Self::connect(url.secret(), place).await
    }

    /// Opens the catalog behind a database URL. `place` names it in messages: a URL may hold a password.
    ///
    /// # Errors
    /// As [`Catalog::open`].
    pub async fn connect(url: &str, place: String) -> Result<Self, CatalogError> {
        install_drivers();
        let dialect = Dialect::of_url(url);
        let failed = |error| CatalogError::of_database(dialect, &place, error);
        let pool = AnyPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(dialect.patience())
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    for statement in dialect.on_connect() {
                        connection.execute(*statement).await?;
                    }
                    Ok(())
                })
            })
            // SQLite itself ends a transaction that finds no space. The driver does not learn of it, and would never
            // again begin another one on that connection.
            .before_acquire(|connection, _| {
                Box::pin(async move { Ok(!connection.is_in_transaction()) })
            })
            .connect(url)
            .await
            .map_err(failed)?;
        let change = pool.begin_with(dialect.begin()).await.map_err(failed)?;
        schema::migrate(change, dialect, &place).await?;
        Ok(Self {
            pool,
            dialect,
            place,
            fence: None,
        })
    }

    /// Whether services on several machines may share it.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.dialect == Dialect::Postgres
    }

    /// Where it lies, without secrets.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Closes the connections. Dropping the catalog is as safe; this waits for it.
    pub async fn close(self) {
        self.pool.close().await;
    }

    pub(crate) fn columns<'a>(&'a self, row: &'a AnyRow) -> Columns<'a> {
        let place = &self.place;
        Columns { row, place }
    }

    pub(crate) fn failed(&self, error: sqlx::Error) -> CatalogError {
        CatalogError::of_database(self.dialect, &self.place, error)
    }
}

fn install_drivers() {
    static ONCE: Once = Once::new();
    ONCE.call_once(install_default_drivers);
}

/// Makes the file with its final mode before SQLite sees it; SQLite gives its journal the same
/// mode. An empty file is an empty database.
fn create_file(path: &Path) -> std::io::Result<()> {
    if let Some(directory) = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)?;
    }
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map(|_| ())
}

/// Looks at an SQLite file through a connection that cannot write.
async fn inspect(url: &str, place: &str) -> Result<(), CatalogError> {
    install_drivers();
    let failed = |error| CatalogError::of_database(Dialect::Sqlite, place, error);
    let mut connection = AnyConnection::connect(url).await.map_err(failed)?;
    let tables = number(&mut connection, "SELECT count(*) FROM sqlite_master").await;
    if tables.map_err(failed)? == 0 {
        return Ok(()); // empty: nothing is lost by making it ours
    }
    let id = number(&mut connection, "PRAGMA application_id").await;
    if id.map_err(failed)? != APPLICATION_ID_NUMBER {
        return Err(CatalogError::new(CatalogErrorKind::NotACatalog, place));
    }
    let found = schema::version(&mut connection).await.map_err(failed)?;
    schema::check_version(found, place)?;
    connection.close().await.map_err(failed)
}

async fn number(connection: &mut AnyConnection, query: &'static str) -> Result<i64, sqlx::Error> {
    sqlx::query(query).fetch_one(connection).await?.try_get(0)
}

/// The path as a URL: everything but letters, digits and `/-_.` is escaped.
fn sqlite_url(path: &Path) -> String {
    let mut url = String::from("sqlite://");
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' => {
                url.push(char::from(*byte));
            }
            // Writing to a String cannot fail.
            _ => write!(url, "%{byte:02X}").unwrap_or_default(),
        }
    }
    url
}
