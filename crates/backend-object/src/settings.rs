//! How to reach a store: settings, which are kept with the vault, and secrets, which are not.

use std::fmt;
use std::num::NonZeroU64;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::Provider;

/// How S3's Object Lock holds what is to stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LockMode {
    /// Who has `s3:BypassGovernanceRetention` can remove it all the same. The way back from a date
    /// that was a mistake.
    Governance,
    /// Nobody can, the account's owner included.
    Compliance,
}

impl LockMode {
    /// The word in requests and answers.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Governance => "GOVERNANCE",
            Self::Compliance => "COMPLIANCE",
        }
    }
}

/// What is to be made of S3's Object Lock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ObjectLock {
    /// Nothing: what is immutable, only Tresor keeps.
    Off,
    /// Where the bucket has it, what is immutable is held in [`LockMode::Governance`].
    #[default]
    Governance,
    /// The same in [`LockMode::Compliance`].
    Compliance,
}

impl ObjectLock {
    pub(crate) fn mode(self) -> Option<LockMode> {
        match self {
            Self::Off => None,
            Self::Governance => Some(LockMode::Governance),
            Self::Compliance => Some(LockMode::Compliance),
        }
    }

    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What is no secret. Kept as JSON where this machine notes its vaults.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// URL of the server, where it is not the provider's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Region (S3).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Storage account (Azure).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// File with further certificate authorities to trust, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// File with the secrets, instead of the environment; only its path is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials_file: Option<PathBuf>,
    /// Most requests per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_limit: Option<NonZeroU64>,
    /// What is to be made of S3's Object Lock.
    #[serde(skip_serializing_if = "ObjectLock::is_default")]
    pub object_lock: ObjectLock,
    /// Whether a server without TLS is good enough.
    pub allow_http: bool,
}

/// A line of a credentials file that cannot be used. Says which, not what it holds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct SecretsError {
    line: usize,
    why: &'static str,
}

/// Names and values as in the environment (`AWS_SECRET_ACCESS_KEY`, …).
#[derive(Clone, Default)]
pub struct Secrets(Vec<(String, String)>);

impl Secrets {
    /// Those of the environment that are for this provider.
    #[must_use]
    pub fn from_environment(provider: Provider) -> Self {
        let pairs = std::env::vars_os().filter_map(|(name, value)| {
            let name = name.into_string().ok()?;
            let ours = name.starts_with(provider.variables());
            Some((name, value.into_string().ok()?)).filter(|_| ours)
        });
        Self(pairs.collect())
    }

    /// Reads a credentials file: a `NAME=VALUE` a line, names as in the environment, `#` for
    /// comments. Names without the provider's prefix are taken as if they had it.
    ///
    /// # Errors
    /// The first line that is none of these.
    pub fn parse(provider: Provider, text: &str) -> Result<Self, SecretsError> {
        let mut pairs = Vec::new();
        for (nth, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let bad = |why| SecretsError { line: nth + 1, why };
            let (name, value) = line.split_once('=').ok_or(bad("not NAME=VALUE"))?;
            let (name, value) = (name.trim().to_ascii_uppercase(), value.trim());
            if name.is_empty()
                || !name
                    .bytes()
                    .all(|byte| byte == b'_' || byte.is_ascii_alphanumeric())
            {
                return Err(bad("not a name before `=`"));
            }
            let value = value
                .strip_prefix('"')
                .and_then(|value| value.strip_suffix('"'))
                .unwrap_or(value);
            let prefix = provider.variables();
            let name = if name.starts_with(prefix) {
                name
            } else {
                format!("{prefix}{name}")
            };
            pairs.push((name, value.to_owned()));
        }
        Ok(Self(pairs))
    }

    /// Adds a value, for tests and callers that have it from elsewhere.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.0.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn pairs(&self) -> impl Iterator<Item = (String, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value.as_str()))
    }
}

/// Names only.
impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(name, _)| name))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_secrets() {
        let text = "# ours\nAWS_ACCESS_KEY_ID=AK\n\n secret_access_key = \"S=/+\" \n";
        let secrets = Secrets::parse(Provider::S3, text).unwrap();
        let pairs: Vec<_> = secrets.pairs().collect();
        assert_eq!(
            pairs,
            [
                ("aws_access_key_id".to_owned(), "AK"),
                ("aws_secret_access_key".to_owned(), "S=/+")
            ]
        );
        for bad in ["[default]", "what", "=x", "a b=c"] {
            assert!(Secrets::parse(Provider::S3, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_printed_holds_no_secret() {
        let secrets = Secrets::default().with("AWS_SECRET_ACCESS_KEY", "hush");
        assert!(!format!("{secrets:?}").contains("hush"));
        let error = Secrets::parse(Provider::S3, "hush").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hush"));
    }
}
