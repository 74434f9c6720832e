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
    /// What is there can neither be removed nor replaced: a policy for credentials that only add.
    AppendOnly,
    /// To hold objects (`?retention`) is accepted and not done.
    IgnoreRetention,
    /// To hold objects is forbidden.
    ForbidRetention,
    /// Locked versions are removed all the same.
    IgnoreLocks,
    /// Lists end before their last entry.
    LoseLastListed,
    /// What is removed is answered with success and stays.
    IgnoreDeletes,
    /// What is read has another last byte.
    SpoilBodies,
    /// The server's clock is two hours ahead.
    WrongClock,
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
        Fault::AppendOnly if !only_adds(&request) => {
            return said(StatusCode::FORBIDDEN, "AccessDenied");
        }
        Fault::IgnoreDeletes if request.method() == Method::DELETE => {
            return Ok(Response::builder()
                .status(StatusCode::NO_CONTENT)
                .body(Bytes::new())?);
        }
        Fault::IgnoreRetention if is_retention(&request) => {
            return Ok(Response::new(Bytes::new()));
        }
        Fault::ForbidRetention if is_retention(&request) => {
            return said(StatusCode::FORBIDDEN, "AccessDenied");
        }
        Fault::IgnoreLocks => {
            let all_may = http::HeaderValue::from_static("true");
            let name = "x-amz-bypass-governance-retention";
            request.headers_mut().insert(name, all_may);
        }
        _ => {}
    }
    let path = request
        .uri()
        .path_and_query()
        .map_or("/", |path| path.as_str())
        .to_owned();
    *request.uri_mut() = format!("{upstream}{path}").parse()?;
    let head = request.method() == Method::HEAD;
    let lists = request.method() == Method::GET && path.contains("list-type=2");
    let reads = request.method() == Method::GET && !path.contains('?');
    let mut answer = send(request).await?;
    match fault {
        Fault::LoseLastListed if lists => lose_last(&mut answer),
        Fault::SpoilBodies if reads => {
            let mut body = answer.body().to_vec();
            body.iter_mut()
                .next_back()
                .into_iter()
                .for_each(|byte| *byte ^= 1);
            *answer.body_mut() = Bytes::from(body);
        }
        Fault::WrongClock => set_ahead(&mut answer)?,
        _ => {}
    }
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

fn only_adds(request: &Request<Bytes>) -> bool {
    match *request.method() {
        Method::GET | Method::HEAD => true,
        Method::PUT => request.headers().contains_key(http::header::IF_NONE_MATCH),
        _ => false,
    }
}

fn is_retention(request: &Request<Bytes>) -> bool {
    request.method() == Method::PUT && request.uri().query() == Some("retention")
}

/// The last entry of a list goes.
fn lose_last(answer: &mut Response<Bytes>) {
    const CLOSE: &str = "</Contents>";
    let text = String::from_utf8_lossy(answer.body()).into_owned();
    let last = text.rfind("<Contents>").zip(text.rfind(CLOSE));
    if let Some((begin, end)) = last {
        let cut = [&text[..begin], &text[end + CLOSE.len()..]].concat();
        *answer.body_mut() = Bytes::from(cut);
    }
}

fn set_ahead(answer: &mut Response<Bytes>) -> Result<()> {
    let date = answer.headers().get(http::header::DATE);
    let date = date.and_then(|date| date.to_str().ok());
    let date = date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok());
    let now = date.map_or_else(jiff::Timestamp::now, |date| date.timestamp());
    let ahead = now + jiff::SignedDuration::from_hours(2);
    let text = ahead.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    answer
        .headers_mut()
        .insert(http::header::DATE, text.parse()?);
    Ok(())
}

fn said(status: StatusCode, code: &str) -> Result<Response<Bytes>> {
    let text = format!("<Error><Code>{code}</Code><Message>by the proxy</Message></Error>");
    Ok(Response::builder().status(status).body(Bytes::from(text))?)
}
