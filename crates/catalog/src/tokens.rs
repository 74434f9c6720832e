//! Tokens of the API, by hash.

use jiff::Timestamp;
use tresor_model::{TokenId, TokenRole};

use crate::{
    Catalog, CatalogError, Object, Page, SecretHash,
    list::Conditions,
    row::{Columns, micros, to_word},
};

/// A token, as kept here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRecord {
    /// Its id.
    pub id: TokenId,
    /// What its owner calls it; several may have the same name.
    pub name: String,
    /// The hash of what is presented.
    pub hash: SecretHash,
    /// What it allows.
    pub role: TokenRole,
    /// When it was made.
    pub created_at: Timestamp,
    /// Its end.
    pub expires_at: Option<Timestamp>,
    /// When it was used last, roughly.
    pub last_used_at: Option<Timestamp>,
    /// When it was taken back.
    pub revoked_at: Option<Timestamp>,
}

impl TokenRecord {
    /// Whether it opens anything at `now`.
    #[must_use]
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }
}

impl Catalog {
    /// Keeps a token.
    ///
    /// # Errors
    /// `AlreadyExists` when the id or the hash is known.
    pub async fn add_token(&self, token: &TokenRecord) -> Result<(), CatalogError> {
        let insert = sqlx::query(
            "INSERT INTO tokens (id, name, hash, role, created_at, expires_at, last_used_at, \
             revoked_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(token.id.to_string())
        .bind(&token.name)
        .bind(token.hash.as_str())
        .bind(to_word(&self.place, &token.role)?)
        .bind(micros(token.created_at))
        .bind(token.expires_at.map(micros))
        .bind(token.last_used_at.map(micros))
        .bind(token.revoked_at.map(micros));
        self.write(insert).await?.one(Object::Token, &token.name)
    }

    /// The token of that id, valid or not.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn token(&self, id: TokenId) -> Result<TokenRecord, CatalogError> {
        let select = "SELECT * FROM tokens WHERE id = $1";
        let id = id.to_string();
        self.find(select, (Object::Token, &id), decode).await
    }

    /// The token of that hash, valid or not: see [`TokenRecord::is_valid`].
    ///
    /// # Errors
    /// `Unusable` and its kin.
    pub async fn token_by_hash(
        &self,
        hash: &SecretHash,
    ) -> Result<Option<TokenRecord>, CatalogError> {
        let select = "SELECT * FROM tokens WHERE hash = $1";
        self.find_optional(select, hash.as_str(), decode).await
    }

    /// Tokens, oldest first; the key is the id.
    ///
    /// # Errors
    /// `Unusable` and its kin.
    pub async fn tokens(&self, page: &Page<TokenId>) -> Result<Vec<TokenRecord>, CatalogError> {
        let conditions = Conditions::default().text("id > ", page.after);
        let select = "SELECT * FROM tokens";
        self.select(select, conditions, "id", page.rows(), decode)
            .await
    }

    /// Notes that a token was used. Each use is a write: the caller leaves out what would tell nothing new.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn note_token_used(&self, id: TokenId, at: Timestamp) -> Result<(), CatalogError> {
        let update = sqlx::query(
            "UPDATE tokens SET last_used_at = CASE WHEN coalesce(last_used_at, 0) <= $1 \
             THEN $1 ELSE last_used_at END WHERE id = $2",
        )
        .bind(micros(at))
        .bind(id.to_string());
        let changed = self.write(update).await?;
        changed.one(Object::Token, &id.to_string())
    }

    /// Takes a token back. One that was taken back stays so, since then.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn revoke_token(&self, id: TokenId, at: Timestamp) -> Result<(), CatalogError> {
        let update =
            sqlx::query("UPDATE tokens SET revoked_at = coalesce(revoked_at, $1) WHERE id = $2")
                .bind(micros(at))
                .bind(id.to_string());
        let changed = self.write(update).await?;
        changed.one(Object::Token, &id.to_string())
    }

    /// Forgets tokens that have had their end before `before`; the audit log keeps that they were.
    ///
    /// # Errors
    /// The database fails.
    pub async fn forget_tokens_ended_before(&self, before: Timestamp) -> Result<u64, CatalogError> {
        let delete = sqlx::query("DELETE FROM tokens WHERE expires_at < $1").bind(micros(before));
        Ok(self.write(delete).await?.rows())
    }
}

fn decode(row: &Columns<'_>) -> Result<TokenRecord, CatalogError> {
    Ok(TokenRecord {
        id: row.id("id")?,
        name: row.text("name")?,
        hash: row.id("hash")?,
        role: row.word("role")?,
        created_at: row.time("created_at")?,
        expires_at: row.optional_time("expires_at")?,
        last_used_at: row.optional_time("last_used_at")?,
        revoked_at: row.optional_time("revoked_at")?,
    })
}
