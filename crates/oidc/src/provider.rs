//! A provider, and a login by it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use reqwest::RequestBuilder;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;
use url::{Url, form_urlencoded};

use crate::{
    Identity, OidcError, Pending, Settings,
    http::Http,
    id_token::{self, Claims},
    keys::Keys,
    metadata::Metadata,
    settings::is_private,
};

/// How long what the provider says of itself counts.
const KEPT: Duration = Duration::from_secs(3600);
/// Longest code, in bytes.
const LONGEST_CODE: usize = 4096;

/// A provider.
pub struct Provider {
    settings: Settings,
    http: Http,
    metadata: Mutex<Option<(Instant, Arc<Metadata>)>>,
    keys: Keys,
}

/// What a code is redeemed for (Core §3.1.3.3).
#[derive(Deserialize)]
struct Tokens {
    id_token: String,
    access_token: Option<String>,
}

/// Why it is not (RFC 6749 §5.2).
#[derive(Deserialize)]
struct Refusal {
    error: String,
    error_description: Option<String>,
}

impl Provider {
    /// One that nothing has been asked yet: it may be away when the service starts.
    ///
    /// # Errors
    /// When it cannot be one: its address is no URL, or what is secret would go there in the open.
    pub fn new(settings: Settings) -> Result<Self, OidcError> {
        let http = Http::new(&settings)?;
        match settings.issuer.parse() {
            Ok(issuer) if is_private(&issuer) => {}
            Ok(_) => return Err(http.unusable("it is not reached over TLS")),
            Err(error) => return Err(http.unusable(format!("this is no URL: {error}"))),
        }
        Ok(Self {
            settings,
            http,
            metadata: Mutex::default(),
            keys: Keys::default(),
        })
    }

    /// The provider's address, for people.
    #[must_use]
    pub fn shown(&self) -> &str {
        let issuer = &self.settings.issuer;
        let name = issuer
            .split_once("://")
            .map_or(issuer.as_str(), |(_, name)| name);
        name.trim_end_matches('/')
    }

    /// Where a browser goes to log in, and what it keeps meanwhile.
    ///
    /// # Errors
    /// When the provider cannot be used.
    pub async fn begin(&self) -> Result<(Url, Pending), OidcError> {
        let pending = Pending::generate()?;
        let mut url = self.metadata().await?.authorization_endpoint.clone();
        let scopes = ["openid"]
            .into_iter()
            .chain(self.settings.scopes.iter().map(String::as_str));
        let scopes: Vec<_> = scopes.collect();
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("redirect_uri", self.settings.redirect.as_str())
            .append_pair("scope", &scopes.join(" "))
            .append_pair("state", pending.state())
            .append_pair("nonce", pending.nonce())
            .append_pair("code_challenge", &pending.challenge())
            .append_pair("code_challenge_method", "S256");
        Ok((url, pending))
    }

    /// Who came back with this state and code.
    ///
    /// # Errors
    /// When they are not of this login, the provider cannot be used, or it lets nobody in for them.
    pub async fn finish(
        &self,
        pending: &Pending,
        state: &str,
        code: &str,
    ) -> Result<Identity, OidcError> {
        if state != pending.state() {
            return Err(OidcError::refused(
                "the answer is of another login: begin again",
            ));
        }
        if code.len() > LONGEST_CODE {
            return Err(OidcError::refused("the provider's code is too long"));
        }
        let metadata = self.metadata().await?;
        let tokens = self.redeem(&metadata, pending, code).await?;
        let mut claims = self
            .verified(&metadata, &tokens.id_token, Some(pending.nonce()))
            .await?;
        if !claims.contains_key(&self.settings.groups_claim) {
            self.add_userinfo(&metadata, &tokens, &mut claims).await?;
        }
        id_token::identity(&claims, &self.settings.groups_claim)
    }

    /// Who shows an ID token that they got elsewhere.
    ///
    /// # Errors
    /// When it does not hold, or the provider cannot be used.
    pub async fn identify(&self, token: &str) -> Result<Identity, OidcError> {
        let metadata = self.metadata().await?;
        let claims = self.verified(&metadata, token, None).await?;
        id_token::identity(&claims, &self.settings.groups_claim)
    }

    async fn metadata(&self) -> Result<Arc<Metadata>, OidcError> {
        let mut kept = self.metadata.lock().await;
        if let Some((at, metadata)) = &*kept
            && at.elapsed() < KEPT
        {
            return Ok(Arc::clone(metadata));
        }
        let metadata = Metadata::fetch(&self.http, &self.settings.issuer).await?;
        let metadata = Arc::new(metadata);
        *kept = Some((Instant::now(), Arc::clone(&metadata)));
        Ok(metadata)
    }

    async fn redeem(
        &self,
        metadata: &Metadata,
        pending: &Pending,
        code: &str,
    ) -> Result<Tokens, OidcError> {
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", self.settings.redirect.as_str()),
            ("code_verifier", pending.verifier()),
        ];
        let request = self.http.post(metadata.token_endpoint.as_str());
        let request = self.authenticated(metadata, request, &mut form).form(&form);
        let (status, body) = self.http.ask("tokens", request).await?;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|error| {
                self.http
                    .unusable(format!("its tokens cannot be understood: {error}"))
            });
        }
        let said = match serde_json::from_slice::<Refusal>(&body) {
            Ok(Refusal {
                error,
                error_description: Some(more),
            }) => format!("{error}, {more}"),
            Ok(Refusal { error, .. }) => error,
            Err(_) => status.to_string(),
        };
        Err(OidcError::refused(format!(
            "the provider gives no token for its code: {said}"
        )))
    }

    fn authenticated<'a>(
        &'a self,
        metadata: &Metadata,
        request: RequestBuilder,
        form: &mut Vec<(&'a str, &'a str)>,
    ) -> RequestBuilder {
        let id = self.settings.client_id.as_str();
        match &self.settings.client_secret {
            Some(secret) if metadata.takes_basic() => {
                request.basic_auth(encoded(id), Some(encoded(secret)))
            }
            Some(secret) => {
                form.extend([("client_id", id), ("client_secret", secret.as_str())]);
                request
            }
            None => {
                form.push(("client_id", id));
                request
            }
        }
    }

    async fn verified(
        &self,
        metadata: &Metadata,
        token: &str,
        nonce: Option<&str>,
    ) -> Result<Claims, OidcError> {
        let header = id_token::header(token)?;
        let key = self
            .keys
            .find(&self.http, metadata.jwks_uri.as_str(), &header)
            .await?;
        let expected = (metadata.issuer.as_str(), self.settings.client_id.as_str());
        id_token::verify(token, (&key, &header), expected, nonce)
    }

    /// Claims that the provider does not put into the token (Core §5.3). What is signed goes first.
    async fn add_userinfo(
        &self,
        metadata: &Metadata,
        tokens: &Tokens,
        claims: &mut Claims,
    ) -> Result<(), OidcError> {
        let (Some(url), Some(token)) = (&metadata.userinfo_endpoint, &tokens.access_token) else {
            return Ok(());
        };
        let request = self.http.get(url.as_str()).bearer_auth(token);
        let more: Claims = self.http.json("who that is", request).await?;
        let subject =
            |claims: &Claims| claims.get("sub").and_then(Value::as_str).map(str::to_owned);
        if subject(&more) != subject(claims) {
            return Err(OidcError::refused("the provider speaks of somebody else"));
        }
        for (name, value) in more {
            claims.entry(name).or_insert(value);
        }
        Ok(())
    }
}

/// As the header wants it (RFC 6749 §2.3.1).
fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

impl std::fmt::Debug for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Provider")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
