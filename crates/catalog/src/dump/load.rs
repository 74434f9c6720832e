//! Puts a dump into a database: whole, or nothing of it.
//!
//! # Order
//! In one transaction: the tables that are there go, the schema that the dump has is made, its rows are put in,
//! the schema is brought up to date, and what cannot be true any more is set right ([`Loading::settle`]).

use jiff::Timestamp;
use sqlx::{Any, AssertSqlSafe, Transaction};
use tresor_model::HostId;
use tresor_vault_format::database::{Cell, DumpHead};

use super::{
    LEFT_OUT, TABLES,
    write::{Column, ColumnKind, quoted},
};
use crate::{
    Catalog, CatalogError, CatalogErrorKind, HostRecord, HostState,
    links::ANY_SERIAL,
    row::{micros, to_json, to_word},
    schema,
};

/// Tables by which a database knows something that somebody would miss.
const TELLING: [&str; 4] = ["vaults", "vms", "tokens", "jobs"];

/// A database that is being filled. Dropped before [`Loading::finish`] it is as it was.
pub struct Loading<'a> {
    catalog: &'a Catalog,
    change: Transaction<'static, Any>,
    /// The statement of the table that began last, and its columns.
    insert: (String, Vec<Column>),
}

impl Catalog {
    /// Whether it knows nothing that somebody would miss.
    ///
    /// # Errors
    /// `Unusable` and its kin.
    pub async fn is_blank(&self) -> Result<bool, CatalogError> {
        for table in TELLING {
            let some = format!("SELECT 1 FROM {table} LIMIT 1");
            let found = sqlx::query(AssertSqlSafe(some)).fetch_optional(&self.pool);
            if found.await.map_err(|error| self.failed(error))?.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Begins to fill the database from a dump; what it knows goes. Nobody else is to use it meanwhile.
    ///
    /// # Errors
    /// `VersionTooNew` when a newer release made the dump; `Busy` when somebody uses the database.
    pub async fn load_dump(&self, head: &DumpHead) -> Result<Loading<'_>, CatalogError> {
        schema::check_version(head.schema, "in the backup")?;
        let mut loading = Loading {
            catalog: self,
            change: self.change().await?,
            insert: (String::new(), Vec::new()),
        };
        let tables = TABLES.iter().rev().map(|(table, _)| *table);
        for table in LEFT_OUT
            .into_iter()
            .chain(tables)
            .chain(["schema_versions"])
        {
            loading.run(&format!("DROP TABLE {table}")).await?;
        }
        loading.migrate(head.schema).await?;
        Ok(loading)
    }
}

impl Loading<'_> {
    async fn run(&mut self, text: &str) -> Result<(), CatalogError> {
        let query = sqlx::query(AssertSqlSafe(text.to_owned()));
        let done = query.execute(&mut *self.change).await;
        done.map(drop).map_err(|error| self.catalog.failed(error))
    }

    async fn migrate(&mut self, up_to: i64) -> Result<(), CatalogError> {
        let (dialect, place) = (self.catalog.dialect, &self.catalog.place);
        schema::migrate_in(&mut self.change, dialect, place, up_to).await
    }

    /// Begins a table.
    ///
    /// # Errors
    /// `Damaged` when the schema has no such table or column.
    pub async fn table(&mut self, name: &str, columns: &[String]) -> Result<(), CatalogError> {
        let none = || self.wrong(format!("its schema has no such table as {name}"));
        let known = TABLES.iter().find(|(table, _)| *table == name);
        let (table, _) = known.ok_or_else(none)?;
        let there = self.catalog.columns_of(&mut self.change, table).await?;
        let mut wanted = Vec::with_capacity(columns.len());
        for name in columns {
            let column = there.iter().find(|column| column.name == *name);
            let column =
                column.ok_or_else(|| self.wrong(format!("table {table} has no column {name}")))?;
            wanted.push(column.clone());
        }
        let places: Vec<_> = (1..=wanted.len()).map(|at| format!("${at}")).collect();
        let text = format!(
            "INSERT INTO {table} ({}) VALUES ({})",
            quoted(wanted.iter().map(|column| column.name.as_str())),
            places.join(", ")
        );
        // The step of the schema that counts what ended has nothing to count yet; one of an older dump has.
        self.insert = (text, wanted);
        Ok(())
    }

    /// Puts a row into the table that began last.
    ///
    /// # Errors
    /// `Damaged` when it does not fit; what the database says.
    pub async fn row(&mut self, row: Vec<Cell>) -> Result<(), CatalogError> {
        let (text, columns) = &self.insert;
        if row.len() != columns.len() {
            return Err(self.wrong("a row does not fit its table".to_owned()));
        }
        let mut query = sqlx::query(AssertSqlSafe(text.clone()));
        for (cell, column) in row.into_iter().zip(columns) {
            query = match (cell, column.kind) {
                (Cell::Null, ColumnKind::Number) => query.bind(None::<i64>),
                (Cell::Null, ColumnKind::Text) => query.bind(None::<String>),
                (Cell::Number(number), ColumnKind::Number) => query.bind(number),
                (Cell::Text(text), ColumnKind::Text) => query.bind(text),
                _ => return Err(self.wrong(format!("a value of {} does not fit", column.name))),
            };
        }
        let put = query.execute(&mut *self.change).await;
        put.map(drop).map_err(|error| self.catalog.failed(error))
    }

    /// The hosts that were machines of the service themselves.
    ///
    /// # Errors
    /// `Unusable` and its kin.
    pub async fn own_hosts(&mut self) -> Result<Vec<(HostId, String)>, CatalogError> {
        let rows = sqlx::query("SELECT id, name, capabilities FROM hosts ORDER BY name");
        let rows = rows.fetch_all(&mut *self.change).await;
        let rows = rows.map_err(|error| self.catalog.failed(error))?;
        let mut hosts = Vec::new();
        for row in &rows {
            let row = self.catalog.columns(row);
            let capabilities: serde_json::Value = row.json("capabilities")?;
            if capabilities["embedded"] == true {
                hosts.push((row.id("id")?, row.text("name")?));
            }
        }
        Ok(hosts)
    }

    /// Adds a machine of the service itself. Another host may have its name.
    ///
    /// # Errors
    /// `Unusable` and its kin.
    pub async fn add_host(&mut self, host: &HostRecord) -> Result<(), CatalogError> {
        let id = host.id.to_string();
        for name in [host.name.as_str(), id.as_str()] {
            let insert = sqlx::query(
                "INSERT INTO hosts (id, name, state, enrolled_at, capabilities) \
                 VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
            )
            .bind(&id)
            .bind(name)
            .bind(to_word(&self.catalog.place, &host.state)?)
            .bind(micros(host.enrolled_at))
            .bind(to_json(&self.catalog.place, &host.capabilities)?);
            let added = insert.execute(&mut *self.change).await;
            let added = added.map_err(|error| self.catalog.failed(error))?;
            if added.rows_affected() > 0 {
                break;
            }
        }
        Ok(())
    }

    /// What was on one of the service's machines is on another from now on; `None` is a machine with a database
    /// of its own.
    ///
    /// # Errors
    /// `Unusable` and its kin.
    pub async fn move_host(
        &mut self,
        from: Option<HostId>,
        to: Option<HostId>,
        local_lane: &str,
    ) -> Result<(), CatalogError> {
        if from == to {
            return Ok(());
        }
        let text = |host: Option<HostId>| host.map(|host| host.to_string());
        let lane = |host| text(host).unwrap_or_else(|| local_lane.to_owned());
        for statement in [
            "UPDATE vms SET host = $1 WHERE host = $2 OR (host IS NULL AND $2 IS NULL)",
            "UPDATE datasources SET host = coalesce($1, '') WHERE host = coalesce($2, '')",
        ] {
            let query = sqlx::query(statement).bind(text(to)).bind(text(from));
            let moved = query.execute(&mut *self.change).await;
            moved.map_err(|error| self.catalog.failed(error))?;
        }
        // What any machine can do stays where it is.
        for statement in [
            "UPDATE queue SET lane = $1 WHERE lane = $2 AND job IN \
             (SELECT id FROM jobs WHERE kind IN ('backup', 'restore'))",
            "UPDATE jobs SET lane = $1 WHERE lane = $2 AND kind IN ('backup', 'restore')",
        ] {
            let query = sqlx::query(statement).bind(lane(to)).bind(lane(from));
            let moved = query.execute(&mut *self.change).await;
            moved.map_err(|error| self.catalog.failed(error))?;
        }
        if let Some(from) = from {
            let gone = sqlx::query("DELETE FROM hosts WHERE id = $1").bind(from.to_string());
            let gone = gone.execute(&mut *self.change).await;
            gone.map_err(|error| self.catalog.failed(error))?;
        }
        Ok(())
    }

    /// Makes all of it count.
    ///
    /// # Errors
    /// `Unusable` and its kin; then nothing was changed.
    pub async fn finish(mut self) -> Result<(), CatalogError> {
        self.migrate(schema::supported()).await?;
        self.settle(Timestamp::now()).await?;
        self.catalog.commit(self.change).await
    }

    /// Sets right what cannot be true any more.
    async fn settle(&mut self, now: Timestamp) -> Result<(), CatalogError> {
        // Jobs of processes that are gone: nothing was heard of them. Who lives gives a sign soon.
        self.run("UPDATE jobs SET heartbeat_at = 0 WHERE ended = 0")
            .await?;
        // A host has renewed its certificate since: whichever it shows first counts.
        let enrolled = to_word(&self.catalog.place, &HostState::Enrolled)?;
        let hosts = sqlx::query(
            "UPDATE hosts SET serial = $1, serial_before = NULL \
             WHERE state = $2 AND serial IS NOT NULL",
        )
        .bind(ANY_SERIAL)
        .bind(enrolled);
        let hosts = hosts.execute(&mut *self.change).await;
        hosts.map_err(|error| self.catalog.failed(error))?;
        // One that was used since would be good once more.
        let tokens = sqlx::query("UPDATE enrolments SET expires_at = $1 WHERE expires_at > $1")
            .bind(micros(now));
        let tokens = tokens.execute(&mut *self.change).await;
        tokens.map(drop).map_err(|error| self.catalog.failed(error))
    }

    fn wrong(&self, what: String) -> CatalogError {
        CatalogError::new(CatalogErrorKind::Damaged, "in the backup").caused_by(what)
    }
}
