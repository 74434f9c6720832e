//! The hypervisor nodes that have enrolled. This machine itself is none of them.

use jiff::Timestamp;
use serde_json::Value;
use tresor_model::{HostId, HostState};

use crate::{
    Catalog, CatalogError, Object, Page,
    list::Conditions,
    row::{Columns, micros, to_word},
};

/// A host, as enrolled here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRecord {
    /// Its id.
    pub id: HostId,
    /// Name by which users call it.
    pub name: String,
    /// Whether it may connect.
    pub state: HostState,
    /// Serial number of the certificate that it got last, in hexadecimal digits.
    pub serial: Option<String>,
    /// When it enrolled.
    pub enrolled_at: Timestamp,
    /// Its last sign of life.
    pub last_seen: Option<Timestamp>,
    /// The version of Tresor that it ran then.
    pub version: Option<String>,
    /// What it said it can do: JSON of its own shape.
    pub capabilities: Value,
}

impl Catalog {
    /// Registers a host.
    ///
    /// # Errors
    /// `AlreadyExists` when the name or the id is taken.
    pub async fn add_host(&self, host: &HostRecord) -> Result<(), CatalogError> {
        let insert = sqlx::query(
            "INSERT INTO hosts (id, name, state, serial, enrolled_at, last_seen, version, \
             capabilities) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(host.id.to_string())
        .bind(&host.name)
        .bind(to_word(&self.place, &host.state)?)
        .bind(host.serial.as_ref())
        .bind(micros(host.enrolled_at))
        .bind(host.last_seen.map(micros))
        .bind(host.version.as_ref())
        .bind(host.capabilities.to_string());
        self.write(insert).await?.one(Object::Host, &host.name)
    }

    /// The host of that id.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn host(&self, id: HostId) -> Result<HostRecord, CatalogError> {
        let select = "SELECT * FROM hosts WHERE id = $1";
        let id = id.to_string();
        self.find(select, (Object::Host, &id), decode).await
    }

    /// The host of that name.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn host_by_name(&self, name: &str) -> Result<HostRecord, CatalogError> {
        let select = "SELECT * FROM hosts WHERE name = $1";
        self.find(select, (Object::Host, name), decode).await
    }

    /// Hosts by name; the key is the name.
    ///
    /// # Errors
    /// `Unusable` and its kin.
    pub async fn hosts(&self, page: &Page<String>) -> Result<Vec<HostRecord>, CatalogError> {
        let conditions = Conditions::default().text("name > ", page.after.as_ref());
        let select = "SELECT * FROM hosts";
        self.select(select, conditions, "name", page.rows(), decode)
            .await
    }

    /// Notes a sign of life. An older one than is known changes nothing.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn touch_host(
        &self,
        id: HostId,
        at: Timestamp,
        version: &str,
        capabilities: &Value,
    ) -> Result<(), CatalogError> {
        // The row is always written to, so that the count of rows says whether there is such a host.
        let update = sqlx::query(
            "UPDATE hosts SET \
             version = CASE WHEN coalesce(last_seen, 0) <= $1 THEN $2 ELSE version END, \
             capabilities = CASE WHEN coalesce(last_seen, 0) <= $1 THEN $3 ELSE capabilities END, \
             last_seen = CASE WHEN coalesce(last_seen, 0) <= $1 THEN $1 ELSE last_seen END \
             WHERE id = $4",
        )
        .bind(micros(at))
        .bind(version)
        .bind(capabilities.to_string())
        .bind(id.to_string());
        self.change_host(id, update).await
    }

    /// Notes the certificate that a host has got.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn set_host_serial(&self, id: HostId, serial: &str) -> Result<(), CatalogError> {
        let update = sqlx::query("UPDATE hosts SET serial = $1 WHERE id = $2")
            .bind(serial)
            .bind(id.to_string());
        self.change_host(id, update).await
    }

    /// Lets a host in no more. Doing it twice is doing it once.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn revoke_host(&self, id: HostId) -> Result<(), CatalogError> {
        let update = sqlx::query("UPDATE hosts SET state = $1 WHERE id = $2")
            .bind(to_word(&self.place, &HostState::Revoked)?)
            .bind(id.to_string());
        self.change_host(id, update).await
    }

    /// Forgets a host, and what was found on it.
    ///
    /// # Errors
    /// `NotFound`; `InUse` while a VM on it is registered, protected or not.
    pub async fn remove_host(&self, id: HostId) -> Result<(), CatalogError> {
        let mut change = self.change().await?;
        let id = id.to_string();
        let found = sqlx::query("DELETE FROM datasources WHERE host = $1").bind(&id);
        self.write_in(&mut *change, found).await?;
        let remove = sqlx::query("DELETE FROM hosts WHERE id = $1").bind(&id);
        let removed = self.write_in(&mut *change, remove).await?;
        removed.one(Object::Host, &id)?;
        self.commit(change).await
    }

    async fn change_host(
        &self,
        id: HostId,
        update: crate::write::Statement<'_>,
    ) -> Result<(), CatalogError> {
        let changed = self.write(update).await?;
        changed.one(Object::Host, &id.to_string())
    }
}

fn decode(row: &Columns<'_>) -> Result<HostRecord, CatalogError> {
    Ok(HostRecord {
        id: row.id("id")?,
        name: row.text("name")?,
        state: row.word("state")?,
        serial: row.optional_text("serial")?,
        enrolled_at: row.time("enrolled_at")?,
        last_seen: row.optional_time("last_seen")?,
        version: row.optional_text("version")?,
        capabilities: row.json("capabilities")?,
    })
}
