//! What is set up here and at the provider.

use reqwest::Certificate;
use url::Url;
use zeroize::Zeroizing;

use crate::{OidcError, error::chain};

/// A client of a provider.
#[derive(Clone)]
pub struct Settings {
    /// The provider, as it calls itself.
    pub issuer: String,
    /// What it calls this service.
    pub client_id: String,
    /// What this service proves itself with; none for a public client.
    pub client_secret: Option<Zeroizing<String>>,
    /// Where browsers reach this service's [`crate::CALLBACK`]; the provider has the same text.
    pub redirect: Url,
    /// What is asked for besides `openid`.
    pub scopes: Vec<String>,
    /// The claim that has somebody's groups: an array of texts, or one text.
    pub groups_claim: String,
    /// Authorities of the provider's certificate, besides the system's.
    pub authorities: Vec<Certificate>,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("issuer", &self.issuer)
            .field("client_id", &self.client_id)
            .field("redirect", &self.redirect.as_str())
            .finish_non_exhaustive()
    }
}

/// Certificates of a PEM file.
///
/// # Errors
/// There is none in it, or one that is none.
pub fn certificates(pem: &[u8]) -> Result<Vec<Certificate>, OidcError> {
    let found =
        Certificate::from_pem_bundle(pem).map_err(|error| OidcError::refused(chain(&error)))?;
    match found.is_empty() {
        true => Err(OidcError::refused("there is no certificate in it")),
        false => Ok(found),
    }
}

/// Whether what is secret may go there: over TLS, or not out of this machine.
pub(crate) fn is_private(url: &Url) -> bool {
    match url.scheme() {
        "https" => true,
        "http" => {
            let host = url.host_str().unwrap_or_default();
            let address = host.trim_start_matches('[').trim_end_matches(']').parse();
            host == "localhost"
                || address.is_ok_and(|address: std::net::IpAddr| address.is_loopback())
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_stay_on_this_machine_or_go_over_tls() {
        let private = [
            "https://id.example.org/x",
            "http://localhost:1",
            "http://127.0.0.2/",
            "http://[::1]:3/",
        ];
        let open = [
            "http://id.example.org",
            "http://10.0.0.1/",
            "ftp://localhost",
            "http://localhost.example.org/",
        ];
        for (urls, expected) in [(private, true), (open, false)] {
            for url in urls {
                assert_eq!(is_private(&url.parse().unwrap()), expected, "{url}");
            }
        }
    }
}
