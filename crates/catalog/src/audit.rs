//! The audit log: every change that somebody asked for. It is only ever appended to.

use jiff::Timestamp;
use serde_json::Value;
use tresor_model::AuditId;

use crate::{
    Catalog, CatalogError, Object, Page,
    list::Conditions,
    row::{Columns, micros, to_optional_json},
};

/// A change that somebody asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRecord {
    /// Its id; ids sort by time.
    pub id: AuditId,
    /// When.
    pub at: Timestamp,
    /// Who: a token, a host, a user of this machine.
    pub actor: String,
    /// What was done.
    pub action: String,
    /// To what.
    pub object: String,
    /// What it was before, without secrets.
    pub before: Option<Value>,
    /// What it is since.
    pub after: Option<Value>,
}

/// Which entries to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Only what this one did.
    pub actor: Option<String>,
    /// Only what was done to this.
    pub object: Option<String>,
}

impl Catalog {
    /// Appends an entry.
    ///
    /// # Errors
    /// `AlreadyExists` when the id is known.
    pub async fn append_audit(&self, entry: &AuditRecord) -> Result<(), CatalogError> {
        let insert = sqlx::query(
            "INSERT INTO audit (id, at, actor, action, object, old_value, new_value) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(entry.id.to_string())
        .bind(micros(entry.at))
        .bind(&entry.actor)
        .bind(&entry.action)
        .bind(&entry.object)
        .bind(to_optional_json(&self.place, entry.before.as_ref())?)
        .bind(to_optional_json(&self.place, entry.after.as_ref())?);
        let added = self.write(insert).await?;
        added.one(Object::AuditEntry, &entry.id.to_string())
    }

    /// Entries that pass the filter, newest first; the key is the id.
    ///
    /// # Errors
    /// `Unusable` and its kin.
    pub async fn audit(
        &self,
        filter: &AuditFilter,
        page: &Page<AuditId>,
    ) -> Result<Vec<AuditRecord>, CatalogError> {
        let conditions = Conditions::default()
            .text("actor = ", filter.actor.as_ref())
            .text("object = ", filter.object.as_ref())
            .text("id < ", page.after);
        let select = "SELECT * FROM audit";
        self.select(select, conditions, "id DESC", page.rows(), decode)
            .await
    }
}

fn decode(row: &Columns<'_>) -> Result<AuditRecord, CatalogError> {
    Ok(AuditRecord {
        id: row.id("id")?,
        at: row.time("at")?,
        actor: row.text("actor")?,
        action: row.text("action")?,
        object: row.text("object")?,
        before: row.optional_json("old_value")?,
        after: row.optional_json("new_value")?,
    })
}
