//! Writes: what the database may refuse is told apart from what goes wrong, and a lease is asked for.

use sqlx::{
    Any, AnyConnection, Executor, Transaction,
    any::{AnyArguments, AnyRow},
    query::Query,
};

use crate::{Catalog, CatalogError, CatalogErrorKind, Fence, Object};

/// What became of a statement that writes.
#[derive(Debug)]
pub(crate) enum Written {
    /// It changed so many rows.
    Rows(u64),
    /// It would have made a second one of what is unique.
    Taken,
    /// It would have left something that refers to nothing.
    Unreferenced(Box<dyn std::error::Error + Send + Sync>),
}

impl Written {
    /// How many rows were changed.
    pub(crate) fn rows(&self) -> u64 {
        match self {
            Self::Rows(rows) => *rows,
            Self::Taken | Self::Unreferenced(_) => 0,
        }
    }

    /// That one row was changed, of an object that is there.
    pub(crate) fn one(self, object: Object, name: &str) -> Result<(), CatalogError> {
        match self {
            Self::Rows(0) => Err(CatalogError::new(CatalogErrorKind::NotFound(object), name)),
            Self::Rows(_) => Ok(()),
            Self::Taken => {
                let kind = CatalogErrorKind::AlreadyExists(object);
                Err(CatalogError::new(kind, name))
            }
            Self::Unreferenced(error) => {
                let kind = CatalogErrorKind::InUse(object);
                Err(CatalogError::new(kind, name).caused_by(error))
            }
        }
    }
}

pub(crate) type Statement<'q> = Query<'q, Any, AnyArguments>;

impl Catalog {
    /// Begins a transaction that writes; under a fence, one that holds the lease's row, so that nobody
    /// takes the lease before it is over.
    pub(crate) async fn change(&self) -> Result<Transaction<'static, Any>, CatalogError> {
        let begun = self.pool.begin_with(self.dialect.begin()).await;
        let mut change = begun.map_err(|error| self.failed(error))?;
        if let Some(fence) = &self.fence {
            self.expect_held(&mut change, fence).await?;
        }
        Ok(change)
    }

    async fn expect_held(
        &self,
        connection: &mut AnyConnection,
        fence: &Fence,
    ) -> Result<(), CatalogError> {
        let held = self.dialect.holding_row();
        let row = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT epoch FROM leases WHERE name = $1 AND epoch = $2{held}"
        )))
        .bind(fence.name())
        .bind(fence.number())
        .fetch_optional(connection)
        .await
        .map_err(|error| self.failed(error))?;
        match row {
            Some(_) => Ok(()),
            None => Err(CatalogError::new(CatalogErrorKind::Fenced, fence.name())),
        }
    }

    /// Runs one statement that writes.
    pub(crate) async fn write(&self, statement: Statement<'_>) -> Result<Written, CatalogError> {
        if self.fence.is_none() {
            return self.write_in(&self.pool, statement).await;
        }
        let mut change = self.change().await?;
        let written = self.write_in(&mut *change, statement).await?;
        if matches!(written, Written::Rows(_)) {
            self.commit(change).await?;
        }
        Ok(written)
    }

    /// Runs one statement that writes and gives rows.
    pub(crate) async fn write_returning(
        &self,
        statement: Statement<'_>,
    ) -> Result<Vec<AnyRow>, CatalogError> {
        let mut change = self.change().await?;
        let rows = statement.fetch_all(&mut *change).await;
        let rows = rows.map_err(|error| self.failed(error))?;
        self.commit(change).await?;
        Ok(rows)
    }

    /// Runs a statement as part of a transaction. After anything but rows it can only be rolled back.
    pub(crate) async fn write_in<'c>(
        &self,
        executor: impl Executor<'c, Database = Any>,
        statement: Statement<'_>,
    ) -> Result<Written, CatalogError> {
        match statement.execute(executor).await {
            Ok(done) => Ok(Written::Rows(done.rows_affected())),
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() => Ok(Written::Taken),
            Err(sqlx::Error::Database(error)) if error.is_foreign_key_violation() => {
                Ok(Written::Unreferenced(error.into()))
            }
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Rolls a transaction back, and gives its connection to others.
    pub(crate) async fn undo(&self, change: Transaction<'_, Any>) -> Result<(), CatalogError> {
        change.rollback().await.map_err(|error| self.failed(error))
    }

    pub(crate) async fn commit(&self, change: Transaction<'_, Any>) -> Result<(), CatalogError> {
        change.commit().await.map_err(|error| self.failed(error))
    }
}
