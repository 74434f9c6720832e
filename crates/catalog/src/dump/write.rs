//! Writes a dump of what one transaction sees.

use std::io::Write;

use futures::TryStreamExt as _;
use sqlx::{Any, AssertSqlSafe, Row as _, Transaction, ValueRef as _, any::AnyRow};

use tresor_vault_format::database::{Cell, DumpCounts, DumpFile, DumpHead, DumpWriter};

use super::TABLES;
use crate::{Catalog, CatalogError, CatalogErrorKind, schema};

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ColumnKind {
    Number,
    Text,
}

/// A column of a table that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: ColumnKind,
}

impl Catalog {
    /// Writes all of the database, as one moment has it, and the files before it. `head.schema` is set.
    ///
    /// # Errors
    /// `Unusable`, also when `out` fails; what reading the database says.
    pub async fn dump(
        &self,
        mut head: DumpHead,
        files: &[DumpFile],
        out: &mut DumpWriter<impl Write + Send>,
    ) -> Result<DumpCounts, CatalogError> {
        let begun = self.pool.begin_with(self.dialect.begin_snapshot()).await;
        let mut view = begun.map_err(|error| self.failed(error))?;
        let version = schema::version(&mut view).await;
        head.schema = version.map_err(|error| self.failed(error))?;
        let unwritten = |error| self.unwritten(error);
        out.head(&head).map_err(unwritten)?;
        for file in files {
            out.file(file).map_err(unwritten)?;
        }
        for (table, order) in TABLES {
            self.dump_table(&mut view, (table, order), out).await?;
        }
        self.undo(view).await?;
        out.end().map_err(unwritten)
    }

    async fn dump_table(
        &self,
        view: &mut Transaction<'_, Any>,
        (table, order): (&str, &str),
        out: &mut DumpWriter<impl Write + Send>,
    ) -> Result<(), CatalogError> {
        let columns = self.columns_of(view, table).await?;
        let names: Vec<_> = columns.iter().map(|column| column.name.clone()).collect();
        let select = format!(
            "SELECT {} FROM {table} ORDER BY {order}",
            quoted(names.iter().map(String::as_str))
        );
        let begun = out.table(table, names);
        begun.map_err(|error| self.unwritten(error))?;
        let mut rows = sqlx::query(AssertSqlSafe(select)).fetch(&mut **view);
        while let Some(row) = rows.try_next().await.map_err(|error| self.failed(error))? {
            let cells = (0..columns.len()).map(|at| cell(&row, at, columns[at].kind));
            let cells = cells.collect::<Result<Vec<Cell>, _>>();
            let cells = cells.map_err(|error| self.failed(error))?;
            out.row(&cells).map_err(|error| self.unwritten(error))?;
        }
        Ok(())
    }

    /// The columns of a table, in their order; none when there is no such table.
    pub(super) async fn columns_of(
        &self,
        view: &mut Transaction<'_, Any>,
        table: &str,
    ) -> Result<Vec<Column>, CatalogError> {
        let rows = sqlx::query(self.dialect.columns_of_table()).bind(table);
        let rows = rows.fetch_all(&mut **view).await;
        let rows = rows.map_err(|error| self.failed(error))?;
        let column = |row: &AnyRow| {
            let row = self.columns(row);
            let kind = match row.text("kind")?.to_ascii_lowercase().as_str() {
                "bigint" => ColumnKind::Number,
                _ => ColumnKind::Text,
            };
            let name = row.text("name")?;
            Ok(Column { name, kind })
        };
        rows.iter().map(column).collect()
    }

    fn unwritten(&self, error: std::io::Error) -> CatalogError {
        CatalogError::new(CatalogErrorKind::Unusable, &self.place).caused_by(error)
    }
}

/// A list of names as SQL takes them, whatever words it has itself.
pub(super) fn quoted<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<_> = names.map(|name| format!("\"{name}\"")).collect();
    names.join(", ")
}

fn cell(row: &AnyRow, at: usize, kind: ColumnKind) -> Result<Cell, sqlx::Error> {
    if row.try_get_raw(at)?.is_null() {
        return Ok(Cell::Null);
    }
    match kind {
        ColumnKind::Number => row.try_get(at).map(Cell::Number),
        ColumnKind::Text => row.try_get(at).map(Cell::Text),
    }
}
