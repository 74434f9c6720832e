//! Brings the schema up to date, one numbered step after the other, in one transaction.

use jiff::Timestamp;
use sqlx::{Any, AnyConnection, Row as _, Transaction};

use crate::{CatalogError, CatalogErrorKind, dialect::Dialect};

/// All steps, in order. A step that was released is never changed.
const STEPS: &[(i64, &str)] = &[
    (1, include_str!("../migrations/0001_first.sql")),
    (2, include_str!("../migrations/0002_machine.sql")),
    (3, include_str!("../migrations/0003_retention.sql")),
    (4, include_str!("../migrations/0004_stores.sql")),
    (5, include_str!("../migrations/0005_copies.sql")),
    (6, include_str!("../migrations/0006_verified.sql")),
    (7, include_str!("../migrations/0007_queue.sql")),
    (8, include_str!("../migrations/0008_service.sql")),
    (9, include_str!("../migrations/0009_links.sql")),
    (10, include_str!("../migrations/0010_notify.sql")),
    (11, include_str!("../migrations/0011_point_lists.sql")),
];

/// The newest version this program knows.
pub(crate) fn supported() -> i64 {
    STEPS.last().map_or(0, |step| step.0)
}

/// Runs the steps that are missing. Several processes may do this at once.
pub(crate) async fn migrate(
    mut change: Transaction<'_, Any>,
    dialect: Dialect,
    place: &str,
) -> Result<(), CatalogError> {
    let failed = |error| CatalogError::of_database(dialect, place, error);
    sqlx::query(dialect.lock_schema())
        .execute(&mut *change)
        .await
        .map_err(failed)?;
    if let Some(count) = dialect.count_tables() {
        let counted = sqlx::query(count).fetch_one(&mut *change).await;
        let counted = counted.map_err(failed)?;
        let (all, ours): (i64, i64) = (
            counted.try_get(0).map_err(failed)?,
            counted.try_get(1).map_err(failed)?,
        );
        if all > 0 && ours < 3 {
            return Err(CatalogError::new(CatalogErrorKind::NotACatalog, place));
        }
    }
    migrate_in(&mut change, dialect, place, supported()).await?;
    change.commit().await.map_err(failed)
}

/// Runs the steps that are missing up to a version, in a transaction that goes on.
pub(crate) async fn migrate_in(
    change: &mut Transaction<'_, Any>,
    dialect: Dialect,
    place: &str,
    up_to: i64,
) -> Result<(), CatalogError> {
    let failed = |error| CatalogError::of_database(dialect, place, error);
    sqlx::query(
        "CREATE TABLE IF NOT EXISTS schema_versions \
         (version BIGINT PRIMARY KEY, applied_at BIGINT NOT NULL)",
    )
    .execute(&mut **change)
    .await
    .map_err(failed)?;
    let found = version(change).await.map_err(failed)?;
    check_version(found, place)?;
    let missing = found + 1..=up_to;
    for (number, text) in STEPS.iter().filter(|step| missing.contains(&step.0)) {
        for statement in statements(text) {
            sqlx::query(statement)
                .execute(&mut **change)
                .await
                .map_err(failed)?;
        }
        sqlx::query("INSERT INTO schema_versions (version, applied_at) VALUES ($1, $2)")
            .bind(*number)
            .bind(Timestamp::now().as_microsecond())
            .execute(&mut **change)
            .await
            .map_err(failed)?;
    }
    Ok(())
}

/// The version of the schema in the database, 0 when it is empty.
pub(crate) async fn version(connection: &mut AnyConnection) -> Result<i64, sqlx::Error> {
    sqlx::query("SELECT coalesce(max(version), 0) FROM schema_versions")
        .fetch_one(connection)
        .await?
        .try_get(0)
}

/// Refuses what a newer program made.
pub(crate) fn check_version(found: i64, place: &str) -> Result<(), CatalogError> {
    let supported = supported();
    if found > supported {
        let kind = CatalogErrorKind::VersionTooNew { found, supported };
        return Err(CatalogError::new(kind, place));
    }
    Ok(())
}

/// The statements of a step: each ends with a semicolon at the end of a line. Comments may stay.
fn statements(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.split(";\n")
        .map(str::trim)
        .filter(|statement| !statement.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `Any` decodes nothing else, and a BOOLEAN is seen only when a row is read.
    #[test]
    fn columns_have_only_types_that_both_databases_share() {
        const KEY_WORDS: [&str; 5] = ["PRIMARY", "UNIQUE", "FOREIGN", "CHECK", "--"];
        let mut columns = 0;
        for statement in STEPS.iter().flat_map(|step| statements(step.1)) {
            let Some((_, table)) = statement.split_once("CREATE TABLE") else {
                continue;
            };
            for line in table.lines().skip(1).map(str::trim) {
                let first = line.split_whitespace().next().unwrap_or(")");
                if first == ")" || KEY_WORDS.contains(&first) {
                    continue;
                }
                let kind = line[first.len()..].trim_start();
                let good = ["BIGINT", "TEXT", "DOUBLE PRECISION"]
                    .iter()
                    .any(|allowed| kind.starts_with(allowed));
                assert!(good, "{line}");
                columns += 1;
            }
        }
        assert!(columns > 40, "the columns are found: {columns}");
    }

    #[test]
    fn steps_are_numbered_without_gaps() {
        for (expected, step) in (1..).zip(STEPS) {
            assert_eq!(step.0, expected);
        }
    }
}
