//! What is known of vaults' objects from verifications of parts of them: never the truth, and begun
//! anew when it is lost.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sqlx::{Any, AssertSqlSafe, Transaction, query::Query};
use tresor_model::VaultId;

use crate::{Catalog, CatalogError};

/// Rows of one statement: a round trip for each would be minutes for a vault of many packs.
const ROWS: usize = 200;

/// When an object was first seen, and when it was last read back and right.
pub type Verified = (Timestamp, Option<Timestamp>);

/// What a verification changes. Names of objects.
#[derive(Debug, Clone, Copy, Default)]
pub struct VerifiedChange<'a> {
    /// Seen for the first time.
    pub new: &'a [String],
    /// Not there any more.
    pub gone: &'a [String],
    /// Read back, and right.
    pub verified: &'a [String],
}

impl Catalog {
    /// What is known of a vault's objects, by name.
    ///
    /// # Errors
    /// `Unusable` and its kin.
    pub async fn verified(
        &self,
        vault: VaultId,
    ) -> Result<BTreeMap<String, Verified>, CatalogError> {
        let rows =
            sqlx::query("SELECT object, seen_at, verified_at FROM verified WHERE vault = $1")
                .bind(vault.to_string())
                .fetch_all(&self.pool)
                .await
                .map_err(|error| self.failed(error))?;
        let decode = |row| {
            let row = self.columns(row);
            let times = (row.time("seen_at")?, row.optional_time("verified_at")?);
            Ok((row.text("object")?, times))
        };
        rows.iter().map(decode).collect()
    }

    /// Notes what a verification has seen at `now`. What another one noted meanwhile stays.
    ///
    /// # Errors
    /// `Unusable` and its kin; then nothing was changed.
    pub async fn note_verified(
        &self,
        vault: VaultId,
        now: Timestamp,
        change: VerifiedChange<'_>,
    ) -> Result<(), CatalogError> {
        let vault = vault.to_string();
        let now = now.as_microsecond();
        let mut transaction = self.change().await?;
        let kept = "NOTHING";
        self.upsert(&mut transaction, (&vault, now, None), change.new, kept)
            .await?;
        let renewed = "UPDATE SET verified_at = excluded.verified_at";
        let times = (vault.as_str(), now, Some(now));
        self.upsert(&mut transaction, times, change.verified, renewed)
            .await?;
        for objects in change.gone.chunks(ROWS) {
            let names = rows_of(objects, 2, |number| format!("${number}"));
            let text = format!("DELETE FROM verified WHERE vault = $1 AND object IN ({names})");
            let query = sqlx::query(AssertSqlSafe(text)).bind(&vault);
            let query = objects.iter().fold(query, Query::bind);
            let done = query.execute(&mut *transaction).await;
            done.map_err(|error| self.failed(error))?;
        }
        let done = transaction.commit().await;
        done.map_err(|error| self.failed(error))
    }

    async fn upsert(
        &self,
        transaction: &mut Transaction<'_, Any>,
        (vault, seen, verified): (&str, i64, Option<i64>),
        objects: &[String],
        on_conflict: &str,
    ) -> Result<(), CatalogError> {
        for objects in objects.chunks(ROWS) {
            let rows = rows_of(objects, 4, |number| format!("($1, ${number}, $2, $3)"));
            let text = format!(
                "INSERT INTO verified (vault, object, seen_at, verified_at) VALUES {rows} \
                 ON CONFLICT (vault, object) DO {on_conflict}"
            );
            let query = sqlx::query(AssertSqlSafe(text))
                .bind(vault)
                .bind(seen)
                .bind(verified);
            let query = objects.iter().fold(query, Query::bind);
            let done = query.execute(&mut **transaction).await;
            done.map_err(|error| self.failed(error))?;
        }
        Ok(())
    }
}

/// The place holders of as many objects, from that number on. Names never become text of SQL.
fn rows_of(objects: &[String], first: usize, row: impl Fn(usize) -> String) -> String {
    let rows: Vec<_> = (first..first + objects.len()).map(row).collect();
    rows.join(", ")
}
