//! One request: sent, sent again, and its answer read.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use http::{HeaderValue, Method, Request, header};
use serde::{Serialize, de::DeserializeOwned};
use tresor_api_types::FailureBody;
use tresor_problem::{Kind, Problem};
use uuid::Uuid;

use crate::{Patience, Reply, SendError, Transport, retry};

/// No answer is longer: a page of 500 jobs is a tenth of it.
const LONGEST_ANSWER: usize = 16 << 20;
/// For an answer as a whole.
const ANSWER: Duration = Duration::from_secs(120);

/// A client of one service. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    transport: Arc<dyn Transport>,
    patience: Patience,
}

/// A request that can be sent more than once.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    method: Method,
    path: String,
    body: Bytes,
    headers: Vec<(&'static str, HeaderValue)>,
    /// Whether it has its effect once, however often it is sent.
    again: bool,
}

impl Call {
    pub(crate) fn get(path: String) -> Self {
        Self {
            method: Method::GET,
            path,
            body: Bytes::new(),
            headers: Vec::new(),
            again: true,
        }
    }

    /// A change, with a key of its own.
    pub(crate) fn change(method: Method, path: String) -> Self {
        let key = Uuid::new_v4().simple().to_string();
        Self::once(method, path).header("idempotency-key", &key, true)
    }

    /// A change that takes no key.
    pub(crate) fn once(method: Method, path: String) -> Self {
        Self {
            method,
            again: false,
            ..Self::get(path)
        }
    }

    pub(crate) fn body(mut self, document: &impl Serialize) -> Self {
        // Documents of strings and numbers: nothing that JSON refuses.
        self.body = serde_json::to_vec(document).unwrap_or_default().into();
        let json = HeaderValue::from_static("application/json");
        self.headers.push(("content-type", json));
        self
    }

    /// `again`: whether the request can be sent again with it.
    pub(crate) fn header(mut self, name: &'static str, value: &str, again: bool) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
            self.again |= again;
        }
        self
    }

    fn request(&self) -> Result<Request<Bytes>, http::Error> {
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(&self.path);
        for (name, value) in &self.headers {
            request = request.header(*name, value.clone());
        }
        request.body(self.body.clone())
    }
}

/// What became of one send.
enum Sent {
    Answered(Reply),
    /// It can be sent again; after this pause at least.
    Again(Box<Problem>, Option<Duration>),
    Failed(Box<Problem>),
}

impl Client {
    /// A client on a way to a service.
    #[must_use]
    pub fn new(transport: Arc<dyn Transport>) -> Self {
        let patience = Patience::default();
        Self {
            transport,
            patience,
        }
    }

    /// With other pauses.
    #[must_use]
    pub fn with_patience(self, patience: Patience) -> Self {
        Self { patience, ..self }
    }

    /// What the service is called in what users read.
    #[must_use]
    pub fn server(&self) -> &str {
        self.transport.server()
    }

    /// The answer as a document.
    pub(crate) async fn read<T: DeserializeOwned>(&self, call: Call) -> Result<T, Problem> {
        let body = self.answer(call).await?;
        let read = serde_json::from_slice(&body);
        read.map_err(|error| {
            self.unusable(&format!(
                "it is not the document that was asked for ({error})"
            ))
        })
    }

    /// The answer of a change that gives nothing.
    pub(crate) async fn done(&self, call: Call) -> Result<(), Problem> {
        self.answer(call).await.map(|_| ())
    }

    /// The body of the answer. What is lost in its midst is asked for again.
    async fn answer(&self, call: Call) -> Result<Bytes, Problem> {
        let mut sent = 0;
        loop {
            let reply = self.open(&call, &mut sent).await?;
            let error = match self.whole(reply).await {
                Ok(body) => return Ok(body),
                Err(error) => error,
            };
            if !error.lost || !call.again {
                return Err(*error.problem);
            }
            self.wait(sent, None, error.problem).await?;
        }
    }

    /// Sends until there is an answer that is a success.
    pub(crate) async fn open(&self, call: &Call, sent: &mut u32) -> Result<Reply, Problem> {
        loop {
            *sent += 1;
            match self.send(call).await {
                Sent::Answered(reply) => return Ok(reply),
                Sent::Failed(problem) => return Err(*problem),
                Sent::Again(problem, _) if !call.again => return Err(*problem),
                Sent::Again(problem, asked) => self.wait(*sent, asked, problem).await?,
            }
        }
    }

    /// Pauses before the next send, or gives the problem when there is none.
    pub(crate) async fn wait(
        &self,
        sent: u32,
        asked: Option<Duration>,
        problem: Box<Problem>,
    ) -> Result<(), Problem> {
        let mut dice = [0];
        // Without randomness nobody is spread.
        getrandom::fill(&mut dice).ok();
        let Some(pause) = self.patience.pause(sent, asked, dice[0]) else {
            return Err(*problem);
        };
        tracing::debug!(%problem, ?pause, "the request is sent again");
        tokio::time::sleep(pause).await;
        Ok(())
    }

    async fn send(&self, call: &Call) -> Sent {
        let request = match call.request() {
            Ok(request) => request,
            Err(error) => {
                let what = format!("{}: {error}.", call.path);
                return Sent::Failed(Box::new(Kind::RequestMalformed { what }.into()));
            }
        };
        let reply = match self.transport.send(request).await {
            Ok(reply) => reply,
            Err(error) if error.lost => return Sent::Again(error.problem, None),
            Err(error) => return Sent::Failed(error.problem),
        };
        if reply.status.is_success() {
            return Sent::Answered(reply);
        }
        self.refused(reply).await
    }

    /// An answer that is no success: the service's problem, if it is the service's.
    async fn refused(&self, reply: Reply) -> Sent {
        let status = reply.status;
        let asked = retry::retry_after(&reply.headers);
        if status.is_redirection() {
            let to = reply.headers.get(header::LOCATION);
            let to = to.and_then(|to| to.to_str().ok()).unwrap_or("nowhere");
            let to: String = to.chars().take(200).collect();
            let reason = format!("it sends its clients elsewhere, to {to:?}");
            return Sent::Failed(Box::new(self.unusable(&reason)));
        }
        let body = match self.whole(reply).await {
            Ok(body) => body,
            Err(error) if error.lost => return Sent::Again(error.problem, asked),
            Err(error) => return Sent::Failed(error.problem),
        };
        let problem = match serde_json::from_slice::<FailureBody>(&body) {
            Ok(failure) => failure.problem,
            Err(_) => self.unusable(&format!("it says {status}, and not why")),
        };
        match retry::is_for_later(status, &problem) {
            true => Sent::Again(Box::new(problem), asked),
            false => Sent::Failed(Box::new(problem)),
        }
    }

    /// All of a body, in time and within bounds.
    async fn whole(&self, mut reply: Reply) -> Result<Bytes, SendError> {
        let mut body = BytesMut::new();
        let read = async {
            while let Some(chunk) = reply.body.next().await {
                let chunk = chunk?;
                if body.len() + chunk.len() > LONGEST_ANSWER {
                    let reason = format!("it is longer than {LONGEST_ANSWER} bytes");
                    return Err(SendError {
                        problem: Box::new(self.unusable(&reason)),
                        lost: false,
                    });
                }
                body.extend_from_slice(&chunk);
            }
            Ok(())
        };
        match tokio::time::timeout(ANSWER, read).await {
            Ok(read) => read?,
            Err(_) => {
                let reason = "its answer does not come to an end".to_owned();
                return Err(SendError::lost(self.server(), reason));
            }
        }
        Ok(body.freeze())
    }

    /// What no service of ours answers.
    pub(crate) fn unusable(&self, reason: &str) -> Problem {
        let (server, reason) = (self.server().to_owned(), reason.to_owned());
        Kind::ServerAnswerUnusable { server, reason }.into()
    }
}
