//! The URL of a database that several processes share: checked, and never shown with its password.

use std::{fmt, str::FromStr};

use sqlx::postgres::PgConnectOptions;

/// A PostgreSQL database: `postgres://USER:PASSWORD@HOST:PORT/NAME?sslmode=verify-full`.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(String);

/// A text that is no URL of a database; says why, without the text: it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DatabaseUrlError(String);

impl DatabaseUrl {
    /// The whole URL, for the driver alone.
    pub(crate) fn secret(&self) -> &str {
        &self.0
    }

    /// What the database is called in messages: the URL without its password and its options.
    #[must_use]
    pub fn place(&self) -> String {
        let (address, options) = self.0.split_once('?').unwrap_or((&self.0, ""));
        let (scheme, rest) = address.split_once("://").unwrap_or(("postgres", address));
        let (user, host) = rest.rsplit_once('@').unwrap_or(("", rest));
        let user = user.split(':').next().unwrap_or_default();
        let at = if user.is_empty() { "" } else { "@" };
        let mut place = format!("{scheme}://{user}{at}{host}");
        let mut fields = options.split('&').filter_map(|field| field.split_once('='));
        if let Some((_, socket)) = fields.find(|(name, _)| *name == "host") {
            place.push_str(&format!(" at {socket}"));
        }
        place
    }
}

impl FromStr for DatabaseUrl {
    type Err = DatabaseUrlError;

    fn from_str(text: &str) -> Result<Self, DatabaseUrlError> {
        let wrong = |why: &str| DatabaseUrlError(why.to_owned());
        let is_known = ["postgres://", "postgresql://"]
            .iter()
            .any(|scheme| text.starts_with(scheme));
        if !is_known {
            return Err(wrong("it does not begin with postgres://"));
        }
        match text.parse::<PgConnectOptions>() {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(sqlx::Error::Configuration(why)) => Err(wrong(&why.to_string())),
            Err(error) => Err(wrong(&error.to_string())),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({})", self.place())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        let cases = [
            (
                "postgres://tresor:pa:ss@db.example:5432/tresor?sslmode=verify-full&password=more",
                "postgres://tresor@db.example:5432/tresor",
            ),
            (
                "postgresql://db.example/tresor",
                "postgresql://db.example/tresor",
            ),
            (
                "postgres://t:p@localhost/t?host=/run/postgresql&sslmode=disable",
                "postgres://t@localhost/t at /run/postgresql",
            ),
            ("postgres:///t", "postgres:///t"),
        ];
        for (url, expected) in cases {
            let url: DatabaseUrl = url.parse().expect("a URL");
            assert_eq!(url.place(), expected);
            assert_eq!(format!("{url:?}"), format!("DatabaseUrl({expected})"));
        }
    }

    #[test]
    fn what_is_no_url_says_why() {
        for url in [
            "",
            "mysql://secret@h/d",
            "db.example",
            "postgres://secret@h:port/d",
            "postgres://secret@h/d?sslmode=perhaps",
        ] {
            let error = url.parse::<DatabaseUrl>().expect_err("no URL").to_string();
            assert!(!error.is_empty() && !error.contains("secret"), "{error}");
        }
    }
}
