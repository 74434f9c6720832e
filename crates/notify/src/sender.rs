//! One for all channels: it keeps connections.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::{Client, redirect};

use crate::{Message, SendError, Settings, Way, error::chain, mail, text::one_line, webhook};

/// For a call, from its first byte to the last of the answer.
pub(crate) const LIMIT: Duration = Duration::from_secs(15);
/// Of a refusal no more is told.
const TOLD: usize = 200;

/// Sends.
#[derive(Debug, Clone)]
pub struct Sender {
    pub(crate) http: Client,
}

impl Sender {
    /// One that has sent nothing yet.
    ///
    /// # Errors
    /// `Unfit` when this machine has no certificate authorities to go by.
    pub fn new() -> Result<Self, SendError> {
        let http = Client::builder()
            .timeout(LIMIT)
            // A signed body goes where it was meant to go, and nowhere else.
            .redirect(redirect::Policy::none())
            .user_agent(concat!("Tresor/", env!("CARGO_PKG_VERSION")))
            .build();
        let http = http.map_err(|error| SendError::Unfit {
            reason: chain(&error),
        })?;
        Ok(Self { http })
    }

    /// Sends a message by a channel. When this gives an error it may have arrived all the same.
    ///
    /// # Errors
    /// What the server says, or that none answers.
    pub async fn send(
        &self,
        settings: &Settings,
        secret: Option<&str>,
        message: &Message,
    ) -> Result<(), SendError> {
        match &settings.way {
            Way::Webhook(webhook) => {
                let now = Timestamp::now();
                webhook::send(self, webhook, secret, message, now).await
            }
            Way::Mail(mail) => mail::send(mail, secret, message).await,
        }
    }

    /// Carries a request out; `server` names it in errors.
    pub(crate) async fn ask(
        &self,
        server: &str,
        request: reqwest::RequestBuilder,
    ) -> Result<(), SendError> {
        let answer = request.send().await;
        let mut answer = answer.map_err(|error| SendError::Unreachable {
            server: server.to_owned(),
            reason: chain(&error.without_url()),
        })?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let said = match answer.chunk().await {
            Ok(Some(said)) => String::from_utf8_lossy(&said).into_owned(),
            _ => String::new(),
        };
        let answer = one_line(format!("{status} {said}").trim(), TOLD);
        Err(SendError::Refused {
            server: server.to_owned(),
            answer,
        })
    }
}
