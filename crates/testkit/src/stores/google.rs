//! A double of Google Cloud Storage: its XML API, as far as a vault uses it. There is no server of
//! it to install; it passes the suite that every backend passes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};

use super::exchange::{Serving, serve};
use super::google_objects::{Objects, refuse};

/// One bucket, in memory.
#[derive(Debug)]
pub struct GoogleDouble {
    serving: Serving,
}

impl GoogleDouble {
    /// Serves a bucket of this name to whoever has this token.
    ///
    /// # Errors
    /// No port can be had.
    pub async fn start(bucket: &str, token: &str) -> Result<Self> {
        let objects = Arc::new(Mutex::new(Objects::default()));
        let (bucket, wanted) = (bucket.to_owned(), format!("Bearer {token}"));
        let serving = serve(move |request| {
            let mut objects = objects.lock().unwrap_or_else(PoisonError::into_inner);
            let answer = answer(&mut objects, &bucket, &wanted, request);
            async move { Ok(answer?) }
        });
        Ok(Self {
            serving: serving.await?,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.serving.url
    }
}

fn answer(
    objects: &mut Objects,
    bucket: &str,
    token: &str,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, http::Error> {
    let (parts, body) = request.into_parts();
    let given = parts.headers.get(http::header::AUTHORIZATION);
    if given.is_none_or(|given| given.as_bytes() != token.as_bytes()) {
        return refuse(StatusCode::UNAUTHORIZED, "AuthenticationRequired");
    }
    let path = decode(parts.uri.path());
    let (named, key) = path
        .trim_start_matches('/')
        .split_once('/')
        .unwrap_or((&path[1..], ""));
    if named != bucket {
        return refuse(StatusCode::NOT_FOUND, "NoSuchBucket");
    }
    if key.is_empty() {
        return match parts.method {
            Method::GET => objects.list(&query(parts.uri.query().unwrap_or_default())),
            _ => refuse(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"),
        };
    }
    objects.answer(&parts.method, key, &parts.headers, body)
}

fn query(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(name, value)| (decode(name), decode(&value.replace('+', " "))))
        .collect()
}

/// Undoes `%XX`.
fn decode(text: &str) -> String {
    let mut pieces = text.split('%');
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        let code = piece
            .get(..2)
            .and_then(|code| u8::from_str_radix(code, 16).ok());
        bytes.extend(code);
        bytes.extend_from_slice(piece.get(2..).unwrap_or_default().as_bytes());
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded() {
        let query = query("list-type=2&prefix=a%2Fb%2D1&x=");
        assert_eq!(query["prefix"], "a/b-1");
        assert_eq!(query["x"], "");
        assert_eq!(decode("%7E100%"), "~100");
    }
}
