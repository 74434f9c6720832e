//! What a provider says of itself (`OpenID` Connect Discovery 1.0).

use serde::Deserialize;
use url::Url;

use crate::{OidcError, http::Http, settings::is_private};

/// The provider's document, judged.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Metadata {
    pub(crate) issuer: String,
    pub(crate) authorization_endpoint: Url,
    pub(crate) token_endpoint: Url,
    pub(crate) jwks_uri: Url,
    pub(crate) userinfo_endpoint: Option<Url>,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Vec<String>,
}

impl Metadata {
    pub(crate) async fn fetch(http: &Http, issuer: &str) -> Result<Self, OidcError> {
        let what = "its configuration";
        let url = format!(
            "{}/.well-known/openid-configuration",
            issuer.trim_end_matches('/')
        );
        let found: Self = http.json(what, http.get(&url)).await?;
        found
            .judge(issuer)
            .map_err(|reason| http.unusable(reason))?;
        Ok(found)
    }

    /// A document of another issuer is no word of this one (§4.3).
    fn judge(&self, issuer: &str) -> Result<(), String> {
        if self.issuer != issuer {
            return Err(format!("it calls itself {}", self.issuer));
        }
        let urls = [
            &self.authorization_endpoint,
            &self.token_endpoint,
            &self.jwks_uri,
        ];
        let open = urls.into_iter().chain(&self.userinfo_endpoint);
        match open.into_iter().find(|url| !is_private(url)) {
            Some(url) => Err(format!("{url} is not reached over TLS")),
            None => Ok(()),
        }
    }

    /// Whether the client's secret goes into the header: the method that is meant where none is said
    /// (Core §9).
    pub(crate) fn takes_basic(&self) -> bool {
        let methods = &self.token_endpoint_auth_methods_supported;
        methods.is_empty() || methods.iter().any(|method| method == "client_secret_basic")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document() -> serde_json::Value {
        json!({
            "issuer": "https://id.example.org", "authorization_endpoint": "https://id.example.org/auth",
            "token_endpoint": "https://id.example.org/token", "jwks_uri": "https://keys.example.org/",
        })
    }

    fn judged(document: &serde_json::Value) -> Result<(), String> {
        let metadata: Metadata = serde_json::from_value(document.clone()).unwrap();
        metadata.judge("https://id.example.org")
    }

    #[test]
    fn another_issuer_and_open_lines_are_refused() {
        assert_eq!(judged(&document()), Ok(()));
        for (name, value) in [
            ("issuer", "https://id.example.org/"),
            ("issuer", "https://evil.example.org"),
            ("token_endpoint", "http://id.example.org/token"),
            ("jwks_uri", "http://keys.example.org/"),
            ("userinfo_endpoint", "http://id.example.org/me"),
        ] {
            let mut changed = document();
            changed[name] = value.into();
            assert!(judged(&changed).is_err(), "{name}: {value}");
        }
    }

    #[test]
    fn the_secret_goes_where_it_is_wanted() {
        for (methods, basic) in [
            (json!([]), true),
            (json!(["client_secret_post"]), false),
            (json!(["client_secret_post", "client_secret_basic"]), true),
        ] {
            let mut document = document();
            document["token_endpoint_auth_methods_supported"] = methods;
            let metadata: Metadata = serde_json::from_value(document).unwrap();
            assert_eq!(metadata.takes_basic(), basic);
        }
    }
}
