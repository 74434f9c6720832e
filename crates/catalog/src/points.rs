//! A cache of the recovery points that the vaults hold (invariant I7): never the truth.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sqlx::{Any, Executor};
use tresor_model::{Consistency, CopiedFrom, DiskStats, PointId, RecoveryPoint, VaultId, VmId};

use crate::{
    Catalog, CatalogError, CatalogErrorKind, Object, Page,
    list::Conditions,
    row::{Columns, count, to_json, to_word},
};

const SELECT: &str = "SELECT * FROM points";

const NEWEST_FIRST: &str = "taken_at DESC, id DESC, vault DESC";

/// What a list of recovery points shows of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PointRecord {
    /// Its id.
    pub id: PointId,
    /// The vault that holds it.
    pub vault: VaultId,
    /// Whose it is.
    pub vm: VmId,
    /// Name of the VM when it was made.
    pub vm_name: String,
    /// The moment whose data it is.
    pub taken_at: Timestamp,
    /// When it was committed.
    pub committed_at: Timestamp,
    /// What was achieved.
    pub consistency: Consistency,
    /// Sum of the disks' sizes in bytes.
    pub size: u64,
    /// Bytes written to the vault for it.
    pub stored: u64,
    /// What was moved, by disk.
    pub stats: BTreeMap<String, DiskStats>,
    /// The backup that it is a copy of.
    pub copied_from: Option<CopiedFrom>,
}

impl PointRecord {
    /// What the catalog keeps of a point. Times are kept in microseconds.
    #[must_use]
    pub fn of(point: &RecoveryPoint, vault: VaultId) -> Self {
        Self {
            id: point.id,
            vault,
            vm: point.vm,
            vm_name: point.vm_name.clone(),
            taken_at: point.taken_at,
            committed_at: point.committed_at,
            consistency: point.consistency.achieved,
            size: point.disks.iter().map(|disk| disk.stream.size).sum(),
            stored: point.disks.iter().map(|disk| disk.stats.stored).sum(),
            stats: point
                .disks
                .iter()
                .map(|disk| (disk.stream.name.as_str().to_owned(), disk.stats))
                .collect(),
            copied_from: point.copied_from,
        }
    }
}

/// Which points to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PointFilter {
    /// Only those of this VM.
    pub vm: Option<VmId>,
    /// Only those of VMs that had this name.
    pub vm_name: Option<String>,
    /// Only those in this vault.
    pub vault: Option<VaultId>,
}

/// Where a recovery point is in the list of them. A copy may have its original's id, in another vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PointKey {
    /// The moment whose data it has.
    pub taken_at: Timestamp,
    /// Its id.
    pub id: PointId,
    /// Its vault.
    pub vault: VaultId,
}

impl PointRecord {
    /// Where it is in the list.
    #[must_use]
    pub fn key(&self) -> PointKey {
        let (taken_at, id, vault) = (self.taken_at, self.id, self.vault);
        PointKey {
            taken_at,
            id,
            vault,
        }
    }
}

impl Catalog {
    /// Notes a point, or notes it again. The database's own are no VM's, and are not noted.
    ///
    /// # Errors
    /// `Unusable` and its kin.
    pub async fn upsert_point(&self, point: &PointRecord) -> Result<(), CatalogError> {
        if point.vm.is_database() {
            return Ok(());
        }
        let mut change = self.change().await?;
        self.write_point(&mut *change, point).await?;
        self.commit(change).await
    }

    /// Replaces all that is noted of a vault's points by what the vault was seen to hold.
    ///
    /// # Errors
    /// `Unusable` and its kin; then nothing was changed.
    pub async fn replace_points(
        &self,
        vault: VaultId,
        points: &[PointRecord],
    ) -> Result<(), CatalogError> {
        let mut change = self.change().await?;
        sqlx::query("DELETE FROM points WHERE vault = $1")
            .bind(vault.to_string())
            .execute(&mut *change)
            .await
            .map_err(|error| self.failed(error))?;
        let noted = |point: &&PointRecord| point.vault == vault && !point.vm.is_database();
        for point in points.iter().filter(noted) {
            self.write_point(&mut *change, point).await?;
        }
        change.commit().await.map_err(|error| self.failed(error))
    }

    /// The points that pass the filter, newest first.
    ///
    /// # Errors
    /// `Unusable` and its kin.
    pub async fn points(&self, filter: &PointFilter) -> Result<Vec<PointRecord>, CatalogError> {
        let rows = sqlx::query(
            "SELECT * FROM points \
             WHERE ($1 IS NULL OR vm = $1) AND ($2 IS NULL OR vm_name = $2) \
             AND ($3 IS NULL OR vault = $3) ORDER BY taken_at DESC, id DESC",
        )
        .bind(filter.vm.map(|id| id.to_string()))
        .bind(filter.vm_name.clone())
        .bind(filter.vault.map(|id| id.to_string()))
        .fetch_all(&self.pool)
        .await
        .map_err(|error| self.failed(error))?;
        rows.iter().map(|row| decode(&self.columns(row))).collect()
    }

    /// A page of them in the same order: newest first.
    ///
    /// # Errors
    /// `Unusable` and its kin.
    pub async fn points_page(
        &self,
        filter: &PointFilter,
        page: &Page<PointKey>,
    ) -> Result<Vec<PointRecord>, CatalogError> {
        let conditions = conditions_of(filter, page.after.as_ref());
        self.select(SELECT, conditions, NEWEST_FIRST, page.rows(), decode)
            .await
    }

    /// The point of that id, in whichever vault.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn point(&self, id: PointId) -> Result<PointRecord, CatalogError> {
        let found = sqlx::query("SELECT * FROM points WHERE id = $1 ORDER BY vault LIMIT 1")
            .bind(id.to_string())
            .fetch_optional(&self.pool)
            .await
            .map_err(|error| self.failed(error))?;
        match found {
            Some(row) => decode(&self.columns(&row)),
            None => Err(CatalogError::new(
                CatalogErrorKind::NotFound(Object::Point),
                id.to_string(),
            )),
        }
    }

    /// The point of that id in a vault, where one is noted.
    ///
    /// # Errors
    /// `Unusable` and its kin.
    pub async fn point_in(
        &self,
        vault: VaultId,
        id: PointId,
    ) -> Result<Option<PointRecord>, CatalogError> {
        let conditions = Conditions::default()
            .text("vault = ", Some(vault))
            .text("id = ", Some(id));
        let select = "SELECT * FROM points";
        let found = self.select(select, conditions, "id", 1, decode).await?;
        Ok(found.into_iter().next())
    }

    async fn write_point<'e>(
        &self,
        executor: impl Executor<'e, Database = Any>,
        point: &PointRecord,
    ) -> Result<(), CatalogError> {
        let copied_from = point.copied_from.as_ref();
        let copied_from = copied_from.map(|from| to_json(&self.place, from));
        let copied_from = copied_from.transpose()?;
        sqlx::query(
            "INSERT INTO points (id, vault, vm, vm_name, taken_at, committed_at, consistency, \
             size, stored, stats, copied_from) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) \
             ON CONFLICT (vault, id) DO UPDATE SET vm = excluded.vm, vm_name = excluded.vm_name, \
             taken_at = excluded.taken_at, committed_at = excluded.committed_at, \
             consistency = excluded.consistency, size = excluded.size, \
             stored = excluded.stored, stats = excluded.stats, \
             copied_from = excluded.copied_from",
        )
        .bind(point.id.to_string())
        .bind(point.vault.to_string())
        .bind(point.vm.to_string())
        .bind(&point.vm_name)
        .bind(point.taken_at.as_microsecond())
        .bind(point.committed_at.as_microsecond())
        .bind(to_word(&self.place, &point.consistency)?)
        .bind(count(point.size))
        .bind(count(point.stored))
        .bind(to_json(&self.place, &point.stats)?)
        .bind(copied_from)
        .execute(executor)
        .await
        .map(|_| ())
        .map_err(|error| self.failed(error))
    }
}

fn conditions_of(filter: &PointFilter, after: Option<&PointKey>) -> Conditions {
    let after = after.map(|key| (key.taken_at.as_microsecond(), key.id, key.vault));
    Conditions::default()
        .text("vm = ", filter.vm)
        .text("vm_name = ", filter.vm_name.as_ref())
        .text("vault = ", filter.vault)
        .before("(taken_at, id, vault)", after)
}

fn decode(row: &Columns<'_>) -> Result<PointRecord, CatalogError> {
    Ok(PointRecord {
        id: row.id("id")?,
        vault: row.id("vault")?,
        vm: row.id("vm")?,
        vm_name: row.text("vm_name")?,
        taken_at: row.time("taken_at")?,
        committed_at: row.time("committed_at")?,
        consistency: row.word("consistency")?,
        size: row.unsigned("size")?,
        stored: row.unsigned("stored")?,
        stats: row.json("stats")?,
        copied_from: row.optional_json("copied_from")?,
    })
}

#[cfg(test)]
mod tests {
    use sqlx::{AssertSqlSafe, Row as _};

    use super::*;

    /// A page costs what is on it: the database finds it by an index, and need not sort.
    #[tokio::test]
    async fn each_filter_has_its_index() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("catalog.db");
        let catalog = Catalog::open(&path).await.unwrap();
        let key = PointKey {
            taken_at: Timestamp::UNIX_EPOCH,
            id: PointId::from(tresor_model::SessionId::generate()),
            vault: VaultId::generate(),
        };
        let of = |vm, vault| PointFilter {
            vm,
            vm_name: None,
            vault,
        };
        for (filter, index) in [
            (of(None, None), "points_by_time"),
            (of(Some(VmId::generate()), None), "points_by_vm"),
            (of(None, Some(VaultId::generate())), "points_by_vault"),
        ] {
            let query = conditions_of(&filter, Some(&key)).query(SELECT, NEWEST_FIRST);
            let plan = plan(&catalog, &query).await;
            let search = format!("SEARCH points USING INDEX {index} (");
            assert!(plan.starts_with(&search), "{plan}");
            assert!(!plan.contains("TEMP B-TREE"), "{plan}");
        }
        let plan = plan(
            &catalog,
            "SELECT * FROM points WHERE id = $1 ORDER BY vault LIMIT 1",
        )
        .await;
        assert!(plan.contains("points_by_id (id=?)"), "{plan}");
    }

    async fn plan(catalog: &Catalog, query: &str) -> String {
        let explain = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {query}")));
        let steps = explain.fetch_all(&catalog.pool).await.unwrap();
        let steps = steps.iter().map(|step| step.get::<String, _>("detail"));
        steps.collect::<Vec<_>>().join("; ")
    }
}
