//! Lengths of time in a policy.

use std::{fmt, str::FromStr};

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

/// A length of time in whole seconds: `90s`, `15m`, `4h`, `1d 12h`. A day is 24 hours, whatever the
/// clock does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Length(u32);

/// A text that is no length of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no length of time such as 90s, 15m, 4h or 1d 12h, of at most 10000 days")]
pub struct LengthError(String);

const UNITS: [(&str, u32); 4] = [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)];

/// As long as any text that makes sense, twice.
const MAX_TEXT: usize = 64;

impl Length {
    const MAX: u32 = 10_000 * 86_400;

    /// So many seconds, at most 10000 days.
    #[must_use]
    pub const fn from_secs(seconds: u32) -> Self {
        Self(if seconds > Self::MAX {
            Self::MAX
        } else {
            seconds
        })
    }

    /// So many minutes.
    #[must_use]
    pub const fn from_minutes(minutes: u32) -> Self {
        Self::from_secs(minutes.saturating_mul(60))
    }

    /// So many hours.
    #[must_use]
    pub const fn from_hours(hours: u32) -> Self {
        Self::from_secs(hours.saturating_mul(3600))
    }

    /// In seconds.
    #[must_use]
    pub const fn seconds(self) -> u32 {
        self.0
    }

    /// As jiff has it.
    #[must_use]
    pub fn duration(self) -> SignedDuration {
        SignedDuration::from_secs(i64::from(self.0))
    }
}

impl FromStr for Length {
    type Err = LengthError;

    fn from_str(text: &str) -> Result<Self, LengthError> {
        let wrong = || LengthError(text.chars().take(MAX_TEXT).collect());
        if text.len() > MAX_TEXT {
            return Err(wrong());
        }
        let mut total = 0_u32;
        let mut units = UNITS.iter();
        for word in text.split_whitespace() {
            let digits = word.bytes().take_while(u8::is_ascii_digit).count();
            let (number, unit) = word.split_at(digits);
            // From the largest unit to the smallest, each once.
            let (_, seconds) = units.find(|(name, _)| *name == unit).ok_or_else(wrong)?;
            let number: u32 = number.parse().map_err(|_| wrong())?;
            let part = number.checked_mul(*seconds).ok_or_else(wrong)?;
            total = total.checked_add(part).ok_or_else(wrong)?;
        }
        if text.trim().is_empty() || total > Self::MAX {
            return Err(wrong());
        }
        Ok(Self(total))
    }
}

impl TryFrom<String> for Length {
    type Error = LengthError;

    fn try_from(text: String) -> Result<Self, LengthError> {
        text.parse()
    }
}

impl From<Length> for String {
    fn from(length: Length) -> Self {
        length.to_string()
    }
}

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&in_words(i64::from(self.0)))
    }
}

/// `1d 12h`, from the largest unit to the smallest; what is 0 is left out.
pub(crate) fn in_words(seconds: i64) -> String {
    let mut rest = seconds.max(0);
    let mut words = Vec::new();
    for (name, unit) in UNITS {
        let unit = i64::from(unit);
        if rest >= unit {
            words.push(format!("{}{name}", rest / unit));
            rest %= unit;
        }
    }
    if words.is_empty() {
        return "0s".to_owned();
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_as_they_are_written() {
        for (text, seconds, shown) in [
            ("90s", 90, "1m 30s"),
            ("15m", 900, "15m"),
            ("24h", 86_400, "1d"),
            ("1d 12h", 129_600, "1d 12h"),
            (" 1h  5s ", 3605, "1h 5s"),
            ("0s", 0, "0s"),
            ("10000d", 864_000_000, "10000d"),
        ] {
            let length: Length = text.parse().expect(text);
            assert_eq!(
                (length.seconds(), length.to_string().as_str()),
                (seconds, shown)
            );
            assert_eq!(shown.parse(), Ok(length));
        }
        for text in [
            "",
            " ",
            "5",
            "h",
            "-1h",
            "+1h",
            "1.5h",
            "1h 1h",
            "5m 1h",
            "1 h",
            "1w",
            "10000d 1s",
            "99999999999s",
            "4294967295d",
            "1hour",
        ] {
            text.parse::<Length>().expect_err(text);
        }
        assert!("1s ".repeat(100).parse::<Length>().is_err());
    }
}
