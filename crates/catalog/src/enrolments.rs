//! Tokens by which hosts enrol, once each.

use jiff::Timestamp;
use tresor_model::HostId;

use crate::{
    Catalog, CatalogError, Object, Page, SecretHash,
    list::Conditions,
    row::{Columns, micros},
    write::Written,
};

/// A token by which a host enrols, as kept here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnrolmentRecord {
    /// The hash of what is presented.
    pub hash: SecretHash,
    /// The name that the host must have; `None`: any.
    pub host_name: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Its end.
    pub expires_at: Timestamp,
    /// When it was used.
    pub used_at: Option<Timestamp>,
    /// Who has used it. The host itself may be forgotten since.
    pub host: Option<HostId>,
}

/// What became of an attempt to enrol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Enrolling {
    /// This one has used the token.
    Accepted(EnrolmentRecord),
    /// Another one has used it, or the same one earlier.
    Used(EnrolmentRecord),
    /// Its time was over.
    Expired(EnrolmentRecord),
    /// There is no such token.
    Unknown,
}

impl Catalog {
    /// Keeps a token.
    ///
    /// # Errors
    /// `AlreadyExists` when the hash is known.
    pub async fn add_enrolment(&self, enrolment: &EnrolmentRecord) -> Result<(), CatalogError> {
        let insert = sqlx::query(
            "INSERT INTO enrolments (hash, host_name, created_at, expires_at, used_at, host) \
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(enrolment.hash.as_str())
        .bind(enrolment.host_name.as_ref())
        .bind(micros(enrolment.created_at))
        .bind(micros(enrolment.expires_at))
        .bind(enrolment.used_at.map(micros))
        .bind(enrolment.host.map(|host| host.to_string()));
        let added = self.write(insert).await?;
        added.one(Object::Enrolment, enrolment.hash.short())
    }

    /// The token of that hash, as it is now; who wants to enrol uses it ([`Catalog::use_enrolment`]).
    ///
    /// # Errors
    /// `Unusable` and its kin.
    pub async fn enrolment(
        &self,
        hash: &SecretHash,
    ) -> Result<Option<EnrolmentRecord>, CatalogError> {
        let select = "SELECT * FROM enrolments WHERE hash = $1";
        self.find_optional(select, hash.as_str(), decode).await
    }

    /// Tokens, used or not, by hash; the key is the hash.
    ///
    /// # Errors
    /// `Unusable` and its kin.
    pub async fn enrolments(
        &self,
        page: &Page<SecretHash>,
    ) -> Result<Vec<EnrolmentRecord>, CatalogError> {
        let conditions = Conditions::default().text("hash > ", page.after.as_ref());
        let select = "SELECT * FROM enrolments";
        self.select(select, conditions, "hash", page.rows(), decode)
            .await
    }

    /// Uses a token up for a host. Of all that try, one is accepted. Whether the host has the name that it
    /// must have the caller looks at before.
    ///
    /// # Errors
    /// `Unusable` and its kin.
    pub async fn use_enrolment(
        &self,
        hash: &SecretHash,
        now: Timestamp,
        host: HostId,
    ) -> Result<Enrolling, CatalogError> {
        let update = sqlx::query(
            "UPDATE enrolments SET used_at = $1, host = $2 \
             WHERE hash = $3 AND used_at IS NULL AND expires_at > $1",
        )
        .bind(micros(now))
        .bind(host.to_string())
        .bind(hash.as_str());
        let accepted = matches!(self.write(update).await?, Written::Rows(1..));
        Ok(match self.enrolment(hash).await? {
            None => Enrolling::Unknown,
            Some(enrolment) if accepted => Enrolling::Accepted(enrolment),
            Some(enrolment) if enrolment.used_at.is_some() => Enrolling::Used(enrolment),
            Some(enrolment) => Enrolling::Expired(enrolment),
        })
    }

    /// Takes a token back, used or not.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn remove_enrolment(&self, hash: &SecretHash) -> Result<(), CatalogError> {
        let remove = sqlx::query("DELETE FROM enrolments WHERE hash = $1").bind(hash.as_str());
        let removed = self.write(remove).await?;
        removed.one(Object::Enrolment, hash.short())
    }
}

fn decode(row: &Columns<'_>) -> Result<EnrolmentRecord, CatalogError> {
    Ok(EnrolmentRecord {
        hash: row.id("hash")?,
        host_name: row.optional_text("host_name")?,
        created_at: row.time("created_at")?,
        expires_at: row.time("expires_at")?,
        used_at: row.optional_time("used_at")?,
        host: row.optional_id("host")?,
    })
}
