//! The client against a real provider, and against answers that none gives.
#![expect(clippy::unwrap_used, reason = "helpers of tests, which may panic")]

mod hostile;
mod logins;

use tresor_oidc::{Provider, Settings};
use zeroize::Zeroizing;

pub(crate) const CLIENT: &str = "tresor";
pub(crate) const SECRET: &str = "a secret: 100 %";
pub(crate) const REDIRECT: &str = "http://127.0.0.1:9/login/oidc/callback";

pub(crate) fn settings(issuer: &str) -> Settings {
    Settings {
        issuer: issuer.to_owned(),
        client_id: CLIENT.to_owned(),
        client_secret: Some(Zeroizing::new(SECRET.to_owned())),
        redirect: REDIRECT.parse().unwrap(),
        scopes: vec!["profile".to_owned()],
        groups_claim: "groups".to_owned(),
        authorities: Vec::new(),
    }
}

pub(crate) fn provider(issuer: &str) -> Provider {
    Provider::new(settings(issuer)).unwrap()
}
