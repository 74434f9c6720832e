//! A proxy before a real server, for what real servers do and these do not on demand.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Result, bail};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};

use super::exchange::{Serving, send, serve};

/// What goes wrong.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Nothing: it only counts.
    None,
    /// The server never sees this header, and so ignores what it asks for.
    Strip(&'static str),
    /// Every so-many-th PUT takes effect, and its connection is cut before the answer.
    LoseAnswers(u64),
    /// Every so-many-th request is told to slow down, and has no effect.
    SlowDown(u64),
    /// Deletes are forbidden, as with credentials for appending only.
    ForbidDeletes,
    /// None of its own, but hides two of `s3s-fs`: puts that race are not atomic, so they pass one by
    /// one; and to read or remove a name that is only a prefix of others is an internal error, not a
    /// missing object.
    Tame,
}

/// Passes requests on.
#[derive(Debug)]
pub struct Proxy {
    serving: Serving,
    puts: Arc<AtomicU64>,
}

impl Proxy {
    /// Starts one before the server at `upstream` (`http://…`).
    ///
    /// # Errors
    /// No port can be had.
    pub async fn start(upstream: &str, fault: Fault) -> Result<Self> {
        let (puts, requests) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (upstream, counted) = (upstream.to_owned(), Arc::clone(&puts));
        let turn = Arc::new(tokio::sync::Mutex::new(()));
        let serving = serve(move |request| {
            let (fault, upstream, turn) = (fault.clone(), upstream.clone(), Arc::clone(&turn));
            let (puts, requests) = (Arc::clone(&counted), Arc::clone(&requests));
            async move {
                let put = request.method() == Method::PUT && matches!(fault, Fault::Tame);
                let _turn = if put { Some(turn.lock().await) } else { None };
                pass(request, upstream, fault, puts, requests).await
            }
        });
        Ok(Self {
            serving: serving.await?,
            puts,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.serving.url
    }

    /// PUT requests seen.
    #[must_use]
    pub fn puts(&self) -> u64 {
        self.puts.load(Ordering::Relaxed)
    }
}

async fn pass(
    mut request: Request<Bytes>,
    upstream: String,
    fault: Fault,
    puts: Arc<AtomicU64>,
    requests: Arc<AtomicU64>,
) -> Result<Response<Bytes>> {
    let nth = requests.fetch_add(1, Ordering::Relaxed) + 1;
    let put = request.method() == Method::PUT;
    let nth_put = puts.fetch_add(u64::from(put), Ordering::Relaxed) + 1;
    match fault {
        Fault::Strip(header) => {
            request.headers_mut().remove(header);
        }
        Fault::SlowDown(every) if nth.is_multiple_of(every) => {
            return said(StatusCode::SERVICE_UNAVAILABLE, "SlowDown");
        }
        Fault::ForbidDeletes if request.method() == Method::DELETE => {
            return said(StatusCode::FORBIDDEN, "AccessDenied");
        }
        _ => {}
    }
    let path = request
        .uri()
        .path_and_query()
        .map_or("/", |path| path.as_str());
    *request.uri_mut() = format!("{upstream}{path}").parse()?;
    let head = request.method() == Method::HEAD;
    let mut answer = send(request).await?;
    if let Fault::LoseAnswers(every) = fault
        && put
        && nth_put.is_multiple_of(every)
    {
        bail!("the answer is lost");
    }
    if matches!(fault, Fault::Tame) && !put && answer.status() == 500 {
        return said(StatusCode::NOT_FOUND, "NoSuchKey");
    }
    // The body is whole: its length is said anew, but that of a HEAD is the object's.
    answer.headers_mut().remove(http::header::TRANSFER_ENCODING);
    if !head {
        answer.headers_mut().remove(http::header::CONTENT_LENGTH);
    }
    Ok(answer)
}

fn said(status: StatusCode, code: &str) -> Result<Response<Bytes>> {
    let text = format!("<Error><Code>{code}</Code><Message>by the proxy</Message></Error>");
    Ok(Response::builder().status(status).body(Bytes::from(text))?)
}
