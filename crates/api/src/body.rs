//! What a request brings: its body, its query, the ids in its path. What is wrong is said field by field.

use axum::{
    body::{Body, Bytes},
    extract::{FromRequest, FromRequestParts, Path, Query, Request},
    http::{StatusCode, header, request::Parts},
};
use serde::de::DeserializeOwned;
use tresor_problem::Kind;

use crate::failure::{Answer, Failure, FieldError};

/// The longest body.
pub(crate) const MAX_BODY: usize = 1 << 20;

/// A body in JSON.
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &S) -> Answer<Self> {
        let bytes = json_bytes(request).await?;
        decode(&bytes).map(Self).map_err(|error| {
            let what = format!(
                "The body cannot be read: `{}`: {}.",
                error.field, error.wrong
            );
            Failure::malformed(what).with_errors(vec![error])
        })
    }
}

/// The bytes of a body that says to be JSON.
pub(crate) async fn json_bytes(request: Request) -> Answer<Bytes> {
    let kind = request.headers().get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        let failure = Failure::malformed("The body must be JSON: Content-Type: application/json.");
        return Err(failure.with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    read(request.into_body()).await
}

/// All of a body, up to the limit.
pub(crate) async fn read(body: Body) -> Answer<Bytes> {
    match axum::body::to_bytes(body, MAX_BODY).await {
        Ok(bytes) => Ok(bytes),
        Err(error) if is_too_long(&error) => {
            let limit = MAX_BODY.to_string();
            Err(Kind::RequestTooLarge { limit }.into())
        }
        Err(_) => Err(Failure::malformed("The body ended before its end.")),
    }
}

fn is_too_long(error: &axum::Error) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if error.is::<http_body_util::LengthLimitError>() {
            return true;
        }
        next = error.source();
    }
    false
}

/// A document, or which field of it is wrong and why.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, FieldError> {
    if has_nul(bytes) {
        return Err(FieldError {
            field: ".".to_owned(),
            wrong: "a string has the character U+0000, which no text here can have".to_owned(),
        });
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let read = serde_path_to_error::deserialize(&mut reader).map_err(|error| FieldError {
        field: error.path().to_string(),
        wrong: error.inner().to_string(),
    });
    let read = read?;
    reader.end().map_err(|error| FieldError {
        field: ".".to_owned(),
        wrong: error.to_string(),
    })?;
    Ok(read)
}

/// Whether a string of a document has the character U+0000: PostgreSQL keeps no text with it.
fn has_nul(json: &[u8]) -> bool {
    let escapes = json.windows(6).enumerate();
    let mut nuls = escapes.filter(|(_, six)| *six == b"\\u0000");
    // A backslash before it that is none itself makes it the text `\u0000`.
    nuls.any(|(at, _)| {
        let before = json[..at].iter().rev().take_while(|byte| **byte == b'\\');
        before.count() % 2 == 0
    })
}

/// The query.
pub(crate) struct Asked<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Answer<Self> {
        let asked = Query::<T>::from_request_parts(parts, state).await;
        let Query(asked) =
            asked.map_err(|error| Failure::malformed(format!("{}.", error.body_text())))?;
        Ok(Self(asked))
    }
}

/// The ids and names in the path.
pub(crate) struct Named<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Named<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Answer<Self> {
        let named = Path::<T>::from_request_parts(parts, state).await;
        let Path(named) =
            named.map_err(|error| Failure::malformed(format!("{}.", error.body_text())))?;
        Ok(Self(named))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nul_is_found_however_it_is_written() {
        for (text, expected) in [
            (r#""\u0000""#, true),
            (r#""a\\\u0000""#, true),
            (r#""\\u0000""#, false),
            (r#""\u0001 u0000""#, false),
            ("", false),
        ] {
            assert_eq!(has_nul(text.as_bytes()), expected, "{text}");
        }
        let error = decode::<String>(br#""a\u0000""#).unwrap_err();
        assert!(error.wrong.contains("U+0000"), "{error:?}");
    }
}
