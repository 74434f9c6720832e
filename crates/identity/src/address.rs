//! Where the service is.

use std::{fmt, str::FromStr};

use http::uri::Authority;

/// The port that `tresor serve` listens on unless told otherwise.
const PORT: u16 = 7440;
const SCHEME: &str = "https://";

/// Name or address, and port, of the service. Read from `https://name:port/`, or less of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    host: String,
    port: u16,
}

impl Address {
    /// A DNS name or an address, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }
}

/// A text that is no address of a service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no address of a service: it looks like https://tresor.example.org:7440")]
pub struct AddressError {
    text: String,
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let refused = || AddressError {
            text: text.to_owned(),
        };
        let rest = match text.split_once("://") {
            Some(("https", rest)) => rest,
            Some(_) => return Err(refused()),
            None => text,
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let parsed: Authority = rest.parse().map_err(|_| refused())?;
        let host = parsed.host();
        let bracketed = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let port = match rest.rsplit_once(':') {
            // A colon in brackets is an address's.
            Some((_, port)) if !port.contains(']') => port.parse().map_err(|_| refused())?,
            _ => PORT,
        };
        if host.is_empty() || rest.contains('@') || port == 0 {
            return Err(refused());
        }
        Ok(Self {
            host: bracketed.unwrap_or(host).to_owned(),
            port,
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "{SCHEME}[{}]:{}", self.host, self.port),
            false => write!(f, "{SCHEME}{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_services() {
        for (text, shown) in [
            ("tresor", "https://tresor:7440"),
            (
                "https://tresor.example.org/",
                "https://tresor.example.org:7440",
            ),
            ("tresor:1", "https://tresor:1"),
            ("https://10.0.0.1:8443", "https://10.0.0.1:8443"),
            ("https://[fd00::1]", "https://[fd00::1]:7440"),
            ("[fd00::1]:99", "https://[fd00::1]:99"),
        ] {
            let address: Address = text.parse().unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(address.to_string(), shown);
            assert_eq!(address.to_string().parse(), Ok(address));
        }
        for text in [
            "",
            "https://",
            "http://tresor",
            "https://tresor:0",
            "tresor:70000",
            "tresor:x",
            "https://me@tresor",
            "https://tresor/api",
            "a b",
            "https://:1",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
