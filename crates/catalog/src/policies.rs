//! Policies: documents that are changed as a whole, by one who has seen the one before.

use jiff::Timestamp;
use tresor_policy::Policy;

use crate::{
    Catalog, CatalogError, CatalogErrorKind, Object, Page,
    list::Conditions,
    row::{Columns, count, micros, to_json},
    write::Written,
};

/// A policy, as kept here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyRecord {
    /// The document. Its name is the key.
    pub policy: Policy,
    /// Rises by one with each change; the first is 1.
    pub revision: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
}

impl Catalog {
    /// Keeps a new policy. It is not validated here.
    ///
    /// # Errors
    /// `AlreadyExists` when the name is taken.
    pub async fn add_policy(
        &self,
        policy: &Policy,
        now: Timestamp,
    ) -> Result<PolicyRecord, CatalogError> {
        let insert = sqlx::query(
            "INSERT INTO policies (name, document, revision, created_at, updated_at) \
             VALUES ($1, $2, 1, $3, $3)",
        )
        .bind(&policy.name)
        .bind(to_json(&self.place, policy)?)
        .bind(micros(now));
        let added = self.write(insert).await?;
        added.one(Object::Policy, &policy.name)?;
        self.policy(&policy.name).await
    }

    /// The policy of that name.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn policy(&self, name: &str) -> Result<PolicyRecord, CatalogError> {
        let select = "SELECT * FROM policies WHERE name = $1";
        self.find(select, (Object::Policy, name), decode).await
    }

    /// Policies by name; the key is the name.
    ///
    /// # Errors
    /// `Unusable` and its kin.
    pub async fn policies(&self, page: &Page<String>) -> Result<Vec<PolicyRecord>, CatalogError> {
        let conditions = Conditions::default().text("name > ", page.after.as_ref());
        let select = "SELECT * FROM policies";
        self.select(select, conditions, "name", page.rows(), decode)
            .await
    }

    /// Puts a document in the place of the one of its name, if that still has the revision that the caller
    /// has seen. Gives the new revision.
    ///
    /// # Errors
    /// `Conflict` when it has another one; `NotFound`.
    pub async fn update_policy(
        &self,
        policy: &Policy,
        expected_revision: u64,
        now: Timestamp,
    ) -> Result<u64, CatalogError> {
        let update = sqlx::query(
            "UPDATE policies SET document = $1, revision = revision + 1, updated_at = $2 \
             WHERE name = $3 AND revision = $4",
        )
        .bind(to_json(&self.place, policy)?)
        .bind(micros(now))
        .bind(&policy.name)
        .bind(count(expected_revision));
        if let Written::Rows(1..) = self.write(update).await? {
            return Ok(expected_revision.saturating_add(1));
        }
        self.policy(&policy.name).await?; // is there such a policy at all?
        let kind = CatalogErrorKind::Conflict(Object::Policy);
        Err(CatalogError::new(kind, &policy.name))
    }

    /// Forgets a policy.
    ///
    /// # Errors
    /// `NotFound`; `InUse` while a protected item has it, also one whose protection was stopped.
    pub async fn remove_policy(&self, name: &str) -> Result<(), CatalogError> {
        let remove = sqlx::query("DELETE FROM policies WHERE name = $1").bind(name);
        self.write(remove).await?.one(Object::Policy, name)
    }
}

fn decode(row: &Columns<'_>) -> Result<PolicyRecord, CatalogError> {
    Ok(PolicyRecord {
        policy: row.json("document")?,
        revision: row.unsigned("revision")?,
        created_at: row.time("created_at")?,
        updated_at: row.time("updated_at")?,
    })
}
