//! The vaults that this installation knows.

use jiff::Timestamp;
use tresor_model::{VaultId, VerifyShare};

use crate::{Catalog, CatalogError, CatalogErrorKind, Object, row::Columns};

/// A vault, as registered here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultRecord {
    /// Name by which users call it.
    pub name: String,
    /// Its id.
    pub id: VaultId,
    /// Where it lies.
    pub location: String,
    /// How to reach it there, where that takes more than the location: JSON, never a secret.
    pub settings: Option<String>,
    /// Where its key was found last (`file:/etc/…`, `credential`, `prompt`); a hint, never a key.
    pub key_source: String,
    /// When it was registered here.
    pub created_at: Timestamp,
    /// How much of it is read back after each backup.
    pub verify_share: Option<VerifyShare>,
}

impl Catalog {
    /// Registers a vault.
    ///
    /// # Errors
    /// `AlreadyExists` when the name or the id is taken.
    pub async fn add_vault(&self, vault: &VaultRecord) -> Result<(), CatalogError> {
        let insert = sqlx::query(
            "INSERT INTO vaults (name, id, location, key_source, created_at, settings, \
             verify_share) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(&vault.name)
        .bind(vault.id.to_string())
        .bind(&vault.location)
        .bind(&vault.key_source)
        .bind(vault.created_at.as_microsecond())
        .bind(vault.settings.as_ref())
        .bind(vault.verify_share.map(millionths));
        self.write(insert).await?.one(Object::Vault, &vault.name)
    }

    /// The vault of that name.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn vault(&self, name: &str) -> Result<VaultRecord, CatalogError> {
        let found = sqlx::query("SELECT * FROM vaults WHERE name = $1")
            .bind(name)
            .fetch_optional(&self.pool)
            .await
            .map_err(|error| self.failed(error))?;
        match found {
            Some(row) => decode(&self.columns(&row)),
            None => Err(CatalogError::new(
                CatalogErrorKind::NotFound(Object::Vault),
                name,
            )),
        }
    }

    /// All vaults, by name.
    ///
    /// # Errors
    /// `Unusable` and its kin.
    pub async fn vaults(&self) -> Result<Vec<VaultRecord>, CatalogError> {
        let rows = sqlx::query("SELECT * FROM vaults ORDER BY name")
            .fetch_all(&self.pool)
            .await
            .map_err(|error| self.failed(error))?;
        rows.iter().map(|row| decode(&self.columns(row))).collect()
    }

    /// Notes that a vault is somewhere else, and where its key is.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn move_vault(
        &self,
        name: &str,
        location: &str,
        settings: Option<&str>,
        key_source: &str,
    ) -> Result<(), CatalogError> {
        let change = sqlx::query(
            "UPDATE vaults SET location = $1, settings = $2, key_source = $3 WHERE name = $4",
        )
        .bind(location)
        .bind(settings)
        .bind(key_source)
        .bind(name);
        self.write(change).await?.one(Object::Vault, name)
    }

    /// Notes where the vault's key was found last.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn set_key_source(&self, name: &str, source: &str) -> Result<(), CatalogError> {
        let change = sqlx::query("UPDATE vaults SET key_source = $1 WHERE name = $2")
            .bind(source)
            .bind(name);
        self.write(change).await?.one(Object::Vault, name)
    }

    /// Notes how the vault's store is reached from now on.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn set_vault_settings(
        &self,
        name: &str,
        settings: Option<&str>,
    ) -> Result<(), CatalogError> {
        let change = sqlx::query("UPDATE vaults SET settings = $1 WHERE name = $2")
            .bind(settings)
            .bind(name);
        self.write(change).await?.one(Object::Vault, name)
    }

    /// Sets how much of a vault is read back after each backup; `None`: nothing.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn set_verify_share(
        &self,
        name: &str,
        share: Option<VerifyShare>,
    ) -> Result<(), CatalogError> {
        let change = sqlx::query("UPDATE vaults SET verify_share = $1 WHERE name = $2")
            .bind(share.map(millionths))
            .bind(name);
        self.write(change).await?.one(Object::Vault, name)
    }

    /// Forgets a vault, the cached list of its recovery points, and what was verified of it. The
    /// vault itself is untouched.
    ///
    /// # Errors
    /// `NotFound`; `InUse` when a VM is bound to it.
    pub async fn remove_vault(&self, name: &str) -> Result<(), CatalogError> {
        let mut change = self.change().await?;
        for statement in [
            "DELETE FROM points WHERE vault IN (SELECT id FROM vaults WHERE name = $1)",
            "DELETE FROM verified WHERE vault IN (SELECT id FROM vaults WHERE name = $1)",
        ] {
            sqlx::query(statement)
                .bind(name)
                .execute(&mut *change)
                .await
                .map_err(|error| self.failed(error))?;
        }
        let remove = sqlx::query("DELETE FROM vaults WHERE name = $1").bind(name);
        let removed = self.write_in(&mut *change, remove).await?;
        removed.one(Object::Vault, name)?;
        self.commit(change).await
    }
}

fn decode(row: &Columns<'_>) -> Result<VaultRecord, CatalogError> {
    Ok(VaultRecord {
        name: row.text("name")?,
        id: row.id("id")?,
        location: row.text("location")?,
        settings: row.optional_text("settings")?,
        key_source: row.text("key_source")?,
        created_at: row.time("created_at")?,
        verify_share: row.optional_share("verify_share")?,
    })
}

fn millionths(share: VerifyShare) -> i64 {
    share.millionths().into()
}
