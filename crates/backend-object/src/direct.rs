//! Requests of our own, where the library makes none: on versions, retention, and the bucket; and
//! deletes in Azure, which it makes by batches whose answers tell what happened in words.

use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use object_store::client::{HttpConnector as _, HttpRequest, HttpRequestBody, HttpResponse};
use tresor_backend::{Error, ErrorKind, ObjectName};

use crate::ObjectBackend;
use crate::backend::PATIENCE;
use crate::connect::Direct;
use crate::failure::{failed, judge, words};
use crate::signer::digest_as_checksum;
use crate::wire::{Seen, Watching, watch};

/// Most of an answer that is read (I8): a page of a thousand versions with names of 400 bytes.
const MAX_BODY: usize = 4 << 20;

/// What is asked for.
pub(crate) struct Ask<'a> {
    pub(crate) operation: &'static str,
    pub(crate) method: Method,
    /// The object; `None`: the bucket.
    pub(crate) name: Option<&'a ObjectName>,
    /// Begins with `?`, or is empty.
    pub(crate) query: String,
    pub(crate) body: String,
}

/// An answer that is a success.
pub(crate) struct Answer {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// An answer that is none, or no success.
pub(crate) struct Refused {
    pub(crate) error: Error,
    /// Status and code, when the server said something.
    pub(crate) seen: Option<Seen>,
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        refused.error
    }
}

impl ObjectBackend {
    /// Sends a signed request and reads the answer.
    pub(crate) async fn ask(&self, direct: &Direct, ask: Ask<'_>) -> Result<Answer, Refused> {
        let (operation, object) = (ask.operation, ask.name.map_or("", ObjectName::as_str));
        let fail = |kind| Error::new(kind, operation, object);
        let plain = |error| Refused { error, seen: None };
        let mut request = self.request(direct, &ask).map_err(plain)?;
        let send = async {
            if let Some(signer) = self.wire.signer.get() {
                signer.sign(&mut request, None).await?;
            }
            if ask.method == Method::PUT {
                digest_as_checksum(&mut request);
            }
            let client = Watching(self.wire.clone()).connect(&direct.options)?;
            let answer = client.execute(request).await;
            // What went wrong is seen where it passes.
            object_store::Result::Ok(match answer {
                Ok(answer) if answer.status().is_success() => Some(read(answer).await),
                _ => None,
            })
        };
        let limited = tokio::time::timeout(PATIENCE, watch(send)).await;
        let late = |late| plain(fail(ErrorKind::Unavailable).because(late));
        let (sent, seen) = limited.map_err(late)?;
        match sent {
            Ok(Some(Some(answer))) => Ok(answer),
            Ok(Some(None)) => Err(plain(
                fail(ErrorKind::Unavailable).because("the answer was cut, or is too long"),
            )),
            Ok(None) => {
                let kind = judge(operation, seen.as_ref());
                let error = fail(kind).because(words(seen.as_ref()));
                Err(Refused { error, seen })
            }
            Err(refused) => {
                let error = failed(operation, object, &refused, seen.as_ref());
                Err(Refused { error, seen })
            }
        }
    }

    /// The request, not signed yet.
    fn request(&self, direct: &Direct, ask: &Ask<'_>) -> Result<HttpRequest, Error> {
        let object = ask.name.map_or("", ObjectName::as_str);
        let path = match ask.name {
            Some(name) => format!("/{}", self.path(ask.operation, name.as_str())?),
            None => String::new(),
        };
        let url = format!("{}{path}{}", direct.url, ask.query).parse();
        let bad = |bad| Error::new(ErrorKind::Io, ask.operation, object).because(bad);
        let url = url.map_err(|error: http::uri::InvalidUri| bad(error.to_string()))?;
        let body = match ask.body.is_empty() {
            true => HttpRequestBody::empty(),
            false => HttpRequestBody::from(ask.body.clone()),
        };
        let mut request = HttpRequest::new(body);
        *request.method_mut() = ask.method.clone();
        *request.uri_mut() = url;
        if !ask.body.is_empty() {
            let xml = HeaderValue::from_static("application/xml");
            request
                .headers_mut()
                .insert(HeaderName::from_static("content-type"), xml);
        }
        Ok(request)
    }

    /// Sends a DELETE; `query` begins with `?` or is empty.
    pub(crate) async fn delete_directly(
        &self,
        direct: &Direct,
        name: &ObjectName,
        query: &str,
    ) -> Result<(), Error> {
        let ask = Ask {
            operation: "delete",
            method: Method::DELETE,
            name: Some(name),
            query: query.to_owned(),
            body: String::new(),
        };
        self.ask(direct, ask).await?;
        Ok(())
    }
}

/// `None` when it was cut, or is longer than it may be.
async fn read(answer: HttpResponse) -> Option<Answer> {
    let (parts, body) = answer.into_parts();
    let mut read = BytesMut::new();
    let mut pieces = body.bytes_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece.ok()?;
        if read.len() + piece.len() > MAX_BODY {
            return None;
        }
        read.extend_from_slice(&piece);
    }
    Some(Answer {
        headers: parts.headers,
        body: read.freeze(),
    })
}
