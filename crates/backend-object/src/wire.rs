//! What passes between us and the server: every answer is looked at once, here.
//!
//! The store's library tells an error's HTTP status only in words. So the status, the provider's
//! error code and a few headers are noted where the answer arrives, for the call that waits for it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use http::{HeaderMap, Method, StatusCode};
use jiff::SignedDuration;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService, ReqwestConnector,
};

use crate::listing;
use crate::signer::Signer;

/// An error's text beyond this is not read (I8).
const MAX_ERROR: usize = 64 << 10;

/// Addresses at which machines of a cloud ask for their role's credentials.
const METADATA_HOSTS: &[&str] = &[
    "169.254.169.254",
    "169.254.170.2",
    "metadata.google.internal",
];

/// How the last exchange of a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    /// The server answered.
    Answer {
        status: StatusCode,
        /// What it said when it refused: code and text.
        said: Said,
    },
    /// It did not.
    NoAnswer {
        /// Nobody answered who would know credentials.
        asking_for_credentials: bool,
        kind: HttpErrorKind,
    },
}

/// A provider's words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) code: String,
    pub(crate) text: String,
}

tokio::task_local! {
    static CALL: Arc<Mutex<Option<Seen>>>;
}

/// Runs a call and gives what was seen last during it.
pub(crate) async fn watch<T>(call: impl Future<Output = T>) -> (T, Option<Seen>) {
    let seen = Arc::new(Mutex::new(None));
    let outcome = CALL.scope(Arc::clone(&seen), call).await;
    let last = seen.lock().unwrap_or_else(PoisonError::into_inner).take();
    (outcome, last)
}

/// What is known of the server from its answers.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    puts: AtomicU64,
    requests: AtomicU64,
    /// Server's clock minus ours.
    skew: Mutex<Option<SignedDuration>>,
    /// What S3's requests are signed with.
    pub(crate) signer: OnceLock<Signer>,
}

impl Wire {
    pub(crate) fn puts(&self) -> u64 {
        self.puts.load(Ordering::Relaxed)
    }

    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(crate) fn skew(&self) -> Option<SignedDuration> {
        *self.skew.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, response: &HttpResponse) {
        let date = response.headers().get(http::header::DATE);
        let date = date.and_then(|date| date.to_str().ok());
        if let Some(there) = date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok()) {
            let skew = there.timestamp().duration_since(jiff::Timestamp::now());
            *self.skew.lock().unwrap_or_else(PoisonError::into_inner) = Some(skew);
        }
    }
}

/// Makes clients that look at what passes.
#[derive(Debug, Clone)]
pub(crate) struct Watching(pub(crate) Arc<Wire>);

impl HttpConnector for Watching {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let inner = ReqwestConnector::default().connect(options)?;
        let wire = Arc::clone(&self.0);
        Ok(HttpClient::new(Client { inner, wire }))
    }
}

#[derive(Debug)]
struct Client {
    inner: HttpClient,
    wire: Arc<Wire>,
}

#[async_trait]
impl HttpService for Client {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        if let Some(signer) = self.wire.signer.get() {
            signer.name_checksum(&mut request).await?;
        }
        self.wire.requests.fetch_add(1, Ordering::Relaxed);
        if request.method() == Method::PUT {
            self.wire.puts.fetch_add(1, Ordering::Relaxed);
        }
        let lists = listing::is_asked(request.method(), request.uri());
        let host = request.uri().host().unwrap_or_default();
        let asking_for_credentials = METADATA_HOSTS.contains(&host);
        let response = self.inner.execute(request).await.inspect_err(|error| {
            see(Seen::NoAnswer {
                asking_for_credentials,
                kind: error.kind(),
            });
        })?;
        self.wire.note(&response);
        let status = response.status();
        if status.is_success() {
            see(Seen::Answer {
                status,
                said: Said::default(),
            });
            return if lists {
                listed(response).await
            } else {
                Ok(response)
            };
        }
        let (parts, body) = response.into_parts();
        let text = read_some(body).await;
        let said = read_error(&String::from_utf8_lossy(&text), &parts.headers);
        see(Seen::Answer { status, said });
        Ok(HttpResponse::from_parts(
            parts,
            HttpResponseBody::from(text),
        ))
    }
}

/// A list, read whole, with what is a vault's.
async fn listed(response: HttpResponse) -> Result<HttpResponse, HttpError> {
    let (mut parts, body) = response.into_parts();
    let mut text = BytesMut::new();
    let mut pieces = body.bytes_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| HttpError::new(HttpErrorKind::Interrupted, error))?;
        if text.len() + piece.len() > listing::MAX_ANSWER {
            let large = std::io::Error::other("the answer to a list is too large");
            return Err(HttpError::new(HttpErrorKind::Decode, large));
        }
        text.extend_from_slice(&piece);
    }
    parts.headers.remove(http::header::CONTENT_LENGTH);
    let body = HttpResponseBody::from(listing::without_foreign(text.freeze()));
    Ok(HttpResponse::from_parts(parts, body))
}

/// Outside of a call there is nobody to tell.
fn see(seen: Seen) {
    let _nobody = CALL.try_with(|call| {
        *call.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
    });
}

/// The beginning of an error's text; what cannot be read is left out, the status says enough.
async fn read_some(body: HttpResponseBody) -> Bytes {
    let mut text = BytesMut::new();
    let mut pieces = body.bytes_stream();
    while let Some(Ok(piece)) = pieces.next().await {
        let room = MAX_ERROR - text.len();
        text.extend_from_slice(&piece[..piece.len().min(room)]);
        if text.len() == MAX_ERROR {
            break;
        }
    }
    text.freeze()
}

/// All three providers answer `<Error><Code>…</Code><Message>…</Message>`; to a HEAD Azure has the
/// code in a header.
fn read_error(text: &str, headers: &HeaderMap) -> Said {
    let element = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        let (inner, _) = rest.split_once(&format!("</{name}>"))?;
        let line = inner.lines().next().unwrap_or_default();
        Some(line.chars().take(200).collect::<String>())
    };
    let header = || Some(headers.get("x-ms-error-code")?.to_str().ok()?.to_owned());
    Said {
        code: element("Code").or_else(header).unwrap_or_default(),
        text: element("Message").unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_in_words() {
        let none = HeaderMap::new();
        let mut azure = HeaderMap::new();
        azure.insert("x-ms-error-code", "BlobNotFound".parse().unwrap());
        for (text, headers, code, words) in [
            (
                "<Error><Code>SlowDown</Code><Message>Wait.</Message></Error>",
                &none,
                "SlowDown",
                "Wait.",
            ),
            (
                "<Error><Code>A</Code><Message>one\ntwo</Message></Error>",
                &none,
                "A",
                "one",
            ),
            ("<Error><Code>A", &none, "", ""),
            ("", &azure, "BlobNotFound", ""),
            ("<html>busy</html>", &none, "", ""),
        ] {
            let said = read_error(text, headers);
            assert_eq!(
                (said.code.as_str(), said.text.as_str()),
                (code, words),
                "{text}"
            );
        }
    }
}
