//! Leases: what only one process may do at a time, and writes that end with the lease.
//!
//! A lease ends by itself when its time is over, by the clocks of those that ask; so clocks must agree
//! within its length for *one at a time*. That an old holder writes nothing needs no clock: each
//! acquirer gets a higher number, and a write under a [`Fence`] looks at the number in its own
//! transaction ([`Catalog::under`]).

use jiff::{SignedDuration, Timestamp};

use crate::{
    Catalog, CatalogError, CatalogErrorKind, Object,
    row::{count, micros},
    write::Written,
};

/// A lease that was got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    name: String,
    epoch: u64,
}

impl Fence {
    /// The lease's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Rises with each acquirer.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(crate) fn number(&self) -> i64 {
        count(self.epoch)
    }
}

/// Who has a lease, or had it last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseRecord {
    /// What it is for.
    pub name: String,
    /// Who has it, in words of its own.
    pub owner: String,
    /// Rises with each acquirer.
    pub epoch: u64,
    /// Its end, unless it is renewed.
    pub until: Timestamp,
}

impl Catalog {
    /// Gets a lease for `ttl`, if nobody has it at `now`. Its holder gets it as little as others: it renews.
    ///
    /// # Errors
    /// `Unusable` and its kin.
    pub async fn acquire(
        &self,
        name: &str,
        owner: &str,
        now: Timestamp,
        ttl: SignedDuration,
    ) -> Result<Option<Fence>, CatalogError> {
        let acquire = sqlx::query(
            "INSERT INTO leases (name, owner, epoch, until_at) VALUES ($1, $2, 1, $3) \
             ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, epoch = leases.epoch + 1, \
             until_at = excluded.until_at WHERE leases.until_at <= $4 RETURNING epoch",
        )
        .bind(name)
        .bind(owner)
        .bind(micros(later(now, ttl)))
        .bind(micros(now));
        let rows = self.write_returning(acquire).await?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        let epoch = self.columns(row).unsigned("epoch")?;
        let name = name.to_owned();
        Ok(Some(Fence { name, epoch }))
    }

    /// Keeps a lease until `ttl` after `now`, also one that is over and that nobody else has got.
    ///
    /// # Errors
    /// `Fenced`.
    pub async fn renew(
        &self,
        fence: &Fence,
        now: Timestamp,
        ttl: SignedDuration,
    ) -> Result<(), CatalogError> {
        let renew = sqlx::query("UPDATE leases SET until_at = $1 WHERE name = $2 AND epoch = $3")
            .bind(micros(later(now, ttl)))
            .bind(&fence.name)
            .bind(fence.number());
        held(fence, &self.write(renew).await?)
    }

    /// Gives a lease back. Nothing can be written under its fence any more.
    ///
    /// # Errors
    /// `Fenced`: it was another's already.
    pub async fn release(&self, fence: &Fence) -> Result<(), CatalogError> {
        let release = sqlx::query(
            "UPDATE leases SET until_at = 0, epoch = epoch + 1 WHERE name = $1 AND epoch = $2",
        )
        .bind(&fence.name)
        .bind(fence.number());
        held(fence, &self.write(release).await?)
    }

    /// Who has a lease, or had it last.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn lease(&self, name: &str) -> Result<LeaseRecord, CatalogError> {
        let select = "SELECT * FROM leases WHERE name = $1";
        self.find(select, (Object::Lease, name), |row| {
            Ok(LeaseRecord {
                name: row.text("name")?,
                owner: row.text("owner")?,
                epoch: row.unsigned("epoch")?,
                until: row.time("until_at")?,
            })
        })
        .await
    }

    /// The same catalog, of which every write is refused with `Fenced` from the moment on at which
    /// somebody else gets the lease (in a job log: `LeaseLost`). Then nothing was changed.
    #[must_use]
    pub fn under(&self, fence: &Fence) -> Self {
        Self {
            fence: Some(fence.clone()),
            ..self.clone()
        }
    }
}

fn held(fence: &Fence, written: &Written) -> Result<(), CatalogError> {
    match written {
        Written::Rows(1..) => Ok(()),
        _ => Err(CatalogError::new(CatalogErrorKind::Fenced, &fence.name)),
    }
}

/// A time that would be after the end of all times is that end.
fn later(now: Timestamp, ttl: SignedDuration) -> Timestamp {
    now.checked_add(ttl).unwrap_or(Timestamp::MAX)
}
