//! Asking the provider, with bounds.

use std::time::Duration;

use reqwest::{Client, RequestBuilder, StatusCode, redirect};
use serde::de::DeserializeOwned;

use crate::{
    OidcError, Settings,
    error::{chain, one_line},
};

/// For a call, from its first byte to the last of the answer.
const LIMIT: Duration = Duration::from_secs(10);
/// Longest answer, in bytes: providers' keys are a few KiB.
const LONGEST: usize = 1 << 20;

#[derive(Debug)]
pub(crate) struct Http {
    client: Client,
    issuer: String,
}

impl Http {
    pub(crate) fn new(settings: &Settings) -> Result<Self, OidcError> {
        let issuer = settings.issuer.clone();
        let mut builder = Client::builder()
            .timeout(LIMIT)
            // What is secret goes where the provider's own description says, and nowhere else.
            .redirect(redirect::Policy::none())
            .user_agent(concat!("Tresor/", env!("CARGO_PKG_VERSION")));
        if !settings.authorities.is_empty() {
            builder = builder.tls_certs_merge(settings.authorities.iter().cloned());
        }
        match builder.build() {
            Ok(client) => Ok(Self { client, issuer }),
            Err(error) => Err(OidcError::Provider {
                issuer,
                reason: chain(&error),
            }),
        }
    }

    pub(crate) fn get(&self, url: &str) -> RequestBuilder {
        self.client.get(url)
    }

    pub(crate) fn post(&self, url: &str) -> RequestBuilder {
        self.client.post(url)
    }

    /// The provider cannot be used, and why.
    pub(crate) fn unusable(&self, reason: impl Into<String>) -> OidcError {
        OidcError::Provider {
            issuer: self.issuer.clone(),
            reason: one_line(&reason.into()),
        }
    }

    /// A JSON document; `what` names it in errors.
    pub(crate) async fn json<T: DeserializeOwned>(
        &self,
        what: &str,
        request: RequestBuilder,
    ) -> Result<T, OidcError> {
        let (status, body) = self.ask(what, request).await?;
        if !status.is_success() {
            return Err(self.unusable(format!("asked for {what}, it answered {status}")));
        }
        serde_json::from_slice(&body)
            .map_err(|error| self.unusable(format!("{what} cannot be understood: {error}")))
    }

    pub(crate) async fn ask(
        &self,
        what: &str,
        request: RequestBuilder,
    ) -> Result<(StatusCode, Vec<u8>), OidcError> {
        let failed = |error: reqwest::Error| {
            self.unusable(format!("asked for {what}: {}", chain(&error.without_url())))
        };
        let mut answer = request.send().await.map_err(failed)?;
        let (status, mut body) = (answer.status(), Vec::new());
        while let Some(more) = answer.chunk().await.map_err(failed)? {
            if body.len() + more.len() > LONGEST {
                return Err(self.unusable(format!("{what} is longer than {LONGEST} bytes")));
            }
            body.extend_from_slice(&more);
        }
        Ok((status, body))
    }
}
