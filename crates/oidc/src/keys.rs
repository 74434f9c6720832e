//! The provider's keys, kept and asked for again.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jsonwebtoken::{DecodingKey, Header, jwk::Jwk};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;

use crate::{OidcError, http::Http};

/// A token with a key that is not known makes the provider's keys be asked for again, at most so often.
const AGAIN: Duration = Duration::from_secs(30);
/// Keys that were taken back count no longer than this.
const KEPT: Duration = Duration::from_secs(3600);

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

struct Fetched {
    at: Instant,
    keys: Arc<[Jwk]>,
}

#[derive(Default)]
pub(crate) struct Keys(Mutex<Option<Fetched>>);

impl Keys {
    /// The key that a token says it is signed with.
    pub(crate) async fn find(
        &self,
        http: &Http,
        url: &str,
        header: &Header,
    ) -> Result<DecodingKey, OidcError> {
        let known = self.get(http, url, KEPT).await?;
        let found = match choose(&known, header) {
            Some(key) => Some(key),
            // The provider has changed its keys, or somebody has made a token up.
            None => choose(&self.get(http, url, AGAIN).await?, header),
        };
        found.ok_or_else(|| {
            OidcError::refused("the token is signed with a key that the provider does not have")
        })
    }

    async fn get(&self, http: &Http, url: &str, oldest: Duration) -> Result<Arc<[Jwk]>, OidcError> {
        let mut kept = self.0.lock().await;
        if let Some(kept) = kept.as_ref().filter(|kept| kept.at.elapsed() < oldest) {
            return Ok(Arc::clone(&kept.keys));
        }
        let document: Document = http.json("its keys", http.get(url)).await?;
        let keys: Arc<[Jwk]> = readable(document.keys).into();
        let fetched = Fetched {
            at: Instant::now(),
            keys: Arc::clone(&keys),
        };
        *kept = Some(fetched);
        Ok(keys)
    }
}

/// A kind of key that is new to us does not hide the others.
fn readable(keys: Vec<Value>) -> Vec<Jwk> {
    let keys = keys.into_iter();
    keys.filter_map(|key| serde_json::from_value(key).ok())
        .collect()
}

/// By its name; without one, the only key of that kind.
fn choose(keys: &[Jwk], header: &Header) -> Option<DecodingKey> {
    let named = |key: &&Jwk| header.kid.is_none() || key.common.key_id == header.kid;
    let fitting = keys.iter().filter(named).filter_map(|key| {
        let key = DecodingKey::from_jwk(key).ok()?;
        (key.family() == header.alg.family()).then_some(key)
    });
    let mut fitting: Vec<_> = fitting.take(2).collect();
    (fitting.len() == 1).then(|| fitting.remove(0))
}
