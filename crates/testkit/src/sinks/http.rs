//! An HTTP server that keeps what it is sent.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use tokio::sync::watch;

use crate::{
    LONG,
    stores::exchange::{Serving, serve_at},
};

/// How it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answering {
    /// With this status.
    Status(u16),
    /// Never: whoever asks waits.
    Never,
}

/// A request.
#[derive(Debug, Clone)]
pub struct Heard {
    /// `POST`, …
    pub method: String,
    /// The path.
    pub path: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: String,
}

#[derive(Debug)]
struct Kept {
    heard: Vec<Heard>,
    answering: Answering,
}

/// The server, until it is dropped.
#[derive(Debug)]
pub struct HttpSink {
    serving: Serving,
    kept: Arc<Mutex<Kept>>,
    count: watch::Receiver<usize>,
}

impl HttpSink {
    /// On a port that the kernel chooses. It answers 200.
    ///
    /// # Errors
    /// The port cannot be bound.
    pub async fn start() -> Result<Self> {
        Self::start_at(0).await
    }

    /// On a port at which one was before.
    ///
    /// # Errors
    /// The port cannot be bound.
    pub async fn start_at(port: u16) -> Result<Self> {
        let kept = Arc::new(Mutex::new(Kept {
            heard: Vec::new(),
            answering: Answering::Status(200),
        }));
        let (counts, count) = watch::channel(0);
        let keeps = Arc::clone(&kept);
        let serving = serve_at(port, move |request| {
            let answering = keep(&keeps, request);
            counts.send_modify(|count| *count += 1);
            async move {
                match answering {
                    Answering::Status(status) => {
                        Ok(Response::builder().status(status).body(Bytes::new())?)
                    }
                    Answering::Never => std::future::pending().await,
                }
            }
        });
        Ok(Self {
            serving: serving.await?,
            kept,
            count,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.serving.url
    }

    /// Its port.
    ///
    /// # Panics
    /// Never: the URL has one.
    #[must_use]
    pub fn port(&self) -> u16 {
        let port = self.url().rsplit(':').next().unwrap_or_default();
        port.parse().expect("a port")
    }

    /// How it answers from now on.
    pub fn answer(&self, answering: Answering) {
        lock(&self.kept).answering = answering;
    }

    /// What it was sent, in order.
    #[must_use]
    pub fn heard(&self) -> Vec<Heard> {
        lock(&self.kept).heard.clone()
    }

    /// Waits until it was sent so many, and gives them.
    ///
    /// # Errors
    /// Not in a long time.
    pub async fn heard_at_least(&self, number: usize) -> Result<Vec<Heard>> {
        let mut count = self.count.clone();
        let waited = tokio::time::timeout(LONG, count.wait_for(|count| *count >= number));
        waited
            .await
            .with_context(|| format!("{} of {number} requests", self.heard().len()))??;
        Ok(self.heard())
    }
}

fn keep(kept: &Mutex<Kept>, request: Request<Bytes>) -> Answering {
    let (parts, body) = request.into_parts();
    let mut kept = lock(kept);
    kept.heard.push(Heard {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        headers: parts.headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    });
    kept.answering
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}
