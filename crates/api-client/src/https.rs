//! Over HTTPS.

use std::{error::Error as StdError, io, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream;
use http::{HeaderValue, Request, header};
use reqwest::{Client, redirect};
use tresor_identity::{Address, ApiTrust, HandshakeError, SystemClock, api_client_config};
use tresor_problem::{Kind, Problem};
use zeroize::Zeroizing;

use crate::{Chunks, Reply, SendError, Transport};

/// For the connection and its handshake.
const CONNECT: Duration = Duration::from_secs(15);
/// For the head of an answer, and for each piece of its body: the service's own limit is 30 s, and its event
/// stream is never silent for longer than 15 s.
const SILENCE: Duration = Duration::from_secs(60);

/// Requests to a service over HTTPS, with a token.
pub struct Https {
    server: String,
    http: Client,
    authorization: Option<HeaderValue>,
}

impl Https {
    /// A way to the service at this address. Nothing is dialled yet.
    ///
    /// # Errors
    /// `ApiTokenInvalid` when the token cannot be one, `IdentityUnusable` when what is trusted cannot be used.
    pub fn new(
        address: &Address,
        trust: &ApiTrust,
        token: Option<&Zeroizing<String>>,
    ) -> Result<Self, Problem> {
        let config = api_client_config(trust, Arc::new(SystemClock));
        let config = config.map_err(|error| Problem::from(&error))?;
        let http = Client::builder()
            .tls_backend_preconfigured(config)
            // A token goes where it was meant to go, and nowhere else.
            .redirect(redirect::Policy::none())
            .no_proxy()
            .https_only(true)
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            .user_agent(concat!("Tresor/", env!("CARGO_PKG_VERSION")))
            .build();
        let http = http.map_err(|error| {
            let what = format!("No HTTPS client could be made: {}.", reason(&error));
            Problem::caused_by(Kind::Internal { what }, &error)
        })?;
        Ok(Self {
            server: address.to_string(),
            http,
            authorization: token.map(|token| bearer(token)).transpose()?,
        })
    }
}

fn bearer(token: &str) -> Result<HeaderValue, Problem> {
    let text = Zeroizing::new(format!("Bearer {token}"));
    let value = HeaderValue::from_str(&text);
    let mut value = value.map_err(|_| Kind::ApiTokenInvalid {
        reason: "it has characters that no token has".to_owned(),
    })?;
    value.set_sensitive(true);
    Ok(value)
}

#[async_trait]
impl Transport for Https {
    fn server(&self) -> &str {
        &self.server
    }

    async fn send(&self, request: Request<Bytes>) -> Result<Reply, SendError> {
        let (parts, body) = request.into_parts();
        let url = format!("{}{}", self.server, parts.uri);
        let mut asked = self.http.request(parts.method, url).headers(parts.headers);
        if let Some(authorization) = &self.authorization {
            asked = asked.header(header::AUTHORIZATION, authorization.clone());
        }
        let answer = asked.body(body).send().await;
        let answer = answer.map_err(|error| failed(&self.server, &error))?;
        Ok(Reply {
            status: answer.status(),
            headers: answer.headers().clone(),
            body: chunks(self.server.clone(), answer),
        })
    }
}

fn chunks(server: String, answer: reqwest::Response) -> Chunks {
    let next = |(server, mut answer): (String, reqwest::Response)| async move {
        match answer.chunk().await {
            Ok(chunk) => Ok(chunk.map(|chunk| (chunk, (server, answer)))),
            Err(error) => Err(failed(&server, &error)),
        }
    };
    Box::pin(stream::try_unfold((server, answer), next))
}

/// Sorts what went wrong: who is not trusted is not asked again.
fn failed(server: &str, error: &reqwest::Error) -> SendError {
    let Some(handshake) = handshake(error) else {
        return SendError::lost(server, reason(error));
    };
    let problem = handshake.client_problem(server, None);
    SendError {
        lost: !problem.is("ServerNotTrusted"),
        problem: Box::new(problem),
    }
}

/// The failure of the TLS connection below, if that is what it was.
fn handshake(error: &(dyn StdError + 'static)) -> Option<HandshakeError> {
    if let Some(tls) = error.downcast_ref::<rustls::Error>() {
        return Some(HandshakeError::of_tls(tls));
    }
    // What an I/O error is about is not its source.
    let about = error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref);
    let found = about.and_then(|about| handshake(about));
    found.or_else(|| error.source().and_then(handshake))
}

/// The innermost cause: what is around it says "error sending request" only.
fn reason(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it does not answer in time".to_owned();
    }
    let mut innermost: &dyn StdError = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
