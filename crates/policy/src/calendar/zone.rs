//! Names of time zones.

use std::{fmt, str::FromStr};

use jiff::tz::{TimeZone, TimeZoneDatabase};
use serde::{Deserialize, Serialize};

/// Longer than any name of the time zone database.
const MAX_NAME: usize = 64;

/// A text that can be the name of a time zone: `UTC`, `Europe/Berlin`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ZoneName(String);

/// There is no such zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no time zone `{0}`")]
pub struct UnknownZone(pub String);

impl ZoneName {
    /// Universal time.
    #[must_use]
    pub fn utc() -> Self {
        Self("UTC".to_owned())
    }

    /// As it was written; universal time is always `UTC`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Finds it.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn find(&self, zones: &TimeZoneDatabase) -> Result<TimeZone, UnknownZone> {
        if self.0 == "UTC" {
            return Ok(TimeZone::UTC);
        }
        zones.get(&self.0).map_err(|_| UnknownZone(self.0.clone()))
    }
}

impl FromStr for ZoneName {
    type Err = UnknownZone;

    /// Takes what has the form of a name: no path that leads elsewhere, nothing long.
    fn from_str(text: &str) -> Result<Self, UnknownZone> {
        if text.eq_ignore_ascii_case("UTC") {
            return Ok(Self::utc());
        }
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"_-+/".contains(&byte);
        let good = text.len() <= MAX_NAME
            && text.starts_with(|first: char| first.is_ascii_alphabetic())
            && text.bytes().all(letter)
            && text.split('/').all(|part| !part.is_empty());
        if !good {
            // Nothing long goes into a message.
            return Err(UnknownZone(text.chars().take(MAX_NAME).collect()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for ZoneName {
    type Error = UnknownZone;

    fn try_from(text: String) -> Result<Self, UnknownZone> {
        text.parse()
    }
}

impl From<ZoneName> for String {
    fn from(name: ZoneName) -> Self {
        name.0
    }
}

impl fmt::Display for ZoneName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
