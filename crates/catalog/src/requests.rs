//! Requests that may come twice: the second one gets the first one's answer, and does nothing.
//!
//! # After a crash
//! A request whose process died is in progress for ever, as far as this table knows; whether it had its
//! effect is not known here. Who has found that out finishes it or forgets it; else its time ends it
//! ([`Catalog::forget_requests_before`]).

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    Catalog, CatalogError, CatalogErrorKind, Object,
    row::{from_json, micros},
    write::Written,
};

/// How often a request looks for the one that came before, which may be forgotten at that very moment.
const TRIES: u32 = 5;

/// What is to be done with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// It is the first one: work on it, then call [`Catalog::finish_request`].
    New,
    /// The first one is worked on.
    InProgress,
    /// The first one was answered like this.
    Done(Value),
    /// The first one with this key was another request.
    Mismatch,
}

impl Catalog {
    /// Notes a request, unless one of the same principal with the same key is known. The fingerprint tells
    /// whether it is the same request.
    ///
    /// # Errors
    /// `Unusable` and its kin.
    pub async fn begin_request(
        &self,
        principal: &str,
        key: &str,
        fingerprint: &str,
        now: Timestamp,
    ) -> Result<Begun, CatalogError> {
        for _ in 0..TRIES {
            let insert = sqlx::query(
                "INSERT INTO idempotency (principal, request_key, fingerprint, at) \
                 VALUES ($1, $2, $3, $4) ON CONFLICT (principal, request_key) DO NOTHING",
            )
            .bind(principal)
            .bind(key)
            .bind(fingerprint)
            .bind(micros(now));
            if let Written::Rows(1..) = self.write(insert).await? {
                return Ok(Begun::New);
            }
            if let Some(begun) = self.known_request(principal, key, fingerprint).await? {
                return Ok(begun);
            }
        }
        let reason = format!("request {key} could be neither noted nor found");
        Err(CatalogError::new(CatalogErrorKind::Unusable, &self.place).caused_by(reason))
    }

    async fn known_request(
        &self,
        principal: &str,
        key: &str,
        fingerprint: &str,
    ) -> Result<Option<Begun>, CatalogError> {
        let row = sqlx::query(
            "SELECT fingerprint, answer FROM idempotency WHERE principal = $1 AND request_key = $2",
        )
        .bind(principal)
        .bind(key)
        .fetch_optional(&self.pool)
        .await
        .map_err(|error| self.failed(error))?;
        let Some(row) = row else { return Ok(None) };
        let row = self.columns(&row);
        if row.text("fingerprint")? != fingerprint {
            return Ok(Some(Begun::Mismatch));
        }
        Ok(Some(match row.optional_text("answer")? {
            Some(answer) => Begun::Done(from_json(&answer).map_err(|error| {
                CatalogError::new(CatalogErrorKind::Damaged, &self.place).caused_by(error)
            })?),
            None => Begun::InProgress,
        }))
    }

    /// Keeps the answer of a request that is worked on.
    ///
    /// # Errors
    /// `NotFound`, also when it was answered already: the first answer stays.
    pub async fn finish_request(
        &self,
        principal: &str,
        key: &str,
        answer: &Value,
    ) -> Result<(), CatalogError> {
        let update = sqlx::query(
            "UPDATE idempotency SET answer = $1 \
             WHERE principal = $2 AND request_key = $3 AND answer IS NULL",
        )
        .bind(answer.to_string())
        .bind(principal)
        .bind(key);
        self.write(update).await?.one(Object::Request, key)
    }

    /// Forgets a request that is worked on and has come to nothing, so that it can be made again.
    ///
    /// # Errors
    /// `NotFound`, also when it was answered.
    pub async fn forget_request(&self, principal: &str, key: &str) -> Result<(), CatalogError> {
        let remove = sqlx::query(
            "DELETE FROM idempotency \
             WHERE principal = $1 AND request_key = $2 AND answer IS NULL",
        )
        .bind(principal)
        .bind(key);
        self.write(remove).await?.one(Object::Request, key)
    }

    /// Forgets all requests that came before `at`, and says how many.
    ///
    /// # Errors
    /// `Unusable` and its kin.
    pub async fn forget_requests_before(&self, at: Timestamp) -> Result<u64, CatalogError> {
        let remove = sqlx::query("DELETE FROM idempotency WHERE at < $1").bind(micros(at));
        Ok(self.write(remove).await?.rows())
    }
}
