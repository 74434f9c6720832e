//! How much of a vault one verification reads back.

use std::{fmt, num::NonZeroU32, str::FromStr};

/// A percent, in the unit of [`VerifyShare`].
const PERCENT: u32 = 10_000;

/// A share of a vault's bytes, in millionths: more than nothing, at most all. As text a percentage
/// with up to four decimals: `2`, `0.5%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifyShare(NonZeroU32);

/// A text or number that is no share.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a percentage above 0 and up to 100, with at most four decimals")]
pub struct VerifyShareError(String);

impl VerifyShare {
    /// So many millionths.
    ///
    /// # Errors
    /// When that is nothing, or more than all.
    pub fn from_millionths(millionths: u64) -> Result<Self, VerifyShareError> {
        let share = u32::try_from(millionths).ok().and_then(NonZeroU32::new);
        share
            .filter(|share| share.get() <= 100 * PERCENT)
            .map(Self)
            .ok_or_else(|| VerifyShareError(format!("{millionths}/1000000")))
    }

    /// In millionths.
    #[must_use]
    pub fn millionths(self) -> u32 {
        self.0.get()
    }

    /// So much of so many bytes, rounded up.
    #[must_use]
    pub fn of(self, bytes: u64) -> u64 {
        let share = u128::from(bytes) * u128::from(self.0.get());
        let share = share.div_ceil(u128::from(100 * PERCENT));
        u64::try_from(share).unwrap_or(bytes)
    }
}

impl FromStr for VerifyShare {
    type Err = VerifyShareError;

    fn from_str(text: &str) -> Result<Self, VerifyShareError> {
        let wrong = || VerifyShareError(text.to_owned());
        let number = text.strip_suffix('%').unwrap_or(text);
        let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
        let is_number =
            |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(whole) || !is_number(decimals) || decimals.len() > 4 {
            return Err(wrong());
        }
        let whole: u32 = whole.parse().map_err(|_| wrong())?;
        let decimals: u32 = format!("{decimals:0<4}").parse().map_err(|_| wrong())?;
        let millionths = u64::from(whole) * u64::from(PERCENT) + u64::from(decimals);
        Self::from_millionths(millionths).map_err(|_| wrong())
    }
}

impl fmt::Display for VerifyShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, decimals) = (self.0.get() / PERCENT, self.0.get() % PERCENT);
        write!(f, "{whole}")?;
        if decimals > 0 {
            let decimals = format!("{decimals:04}");
            write!(f, ".{}", decimals.trim_end_matches('0'))?;
        }
        f.write_str("%")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read_as_they_are_written() {
        for (text, millionths, shown) in [
            ("2", 20_000, "2%"),
            ("0.5%", 5_000, "0.5%"),
            ("100%", 1_000_000, "100%"),
            ("100.0000", 1_000_000, "100%"),
            ("0.0001", 1, "0.0001%"),
            ("12.25", 122_500, "12.25%"),
        ] {
            let share: VerifyShare = text.parse().expect(text);
            assert_eq!(
                (share.millionths(), share.to_string().as_str()),
                (millionths, shown)
            );
        }
        for text in [
            "",
            "0",
            "0.0",
            "%",
            "101",
            "100.0001",
            "-1",
            "1e2",
            ".5",
            "5.",
            "1.00001",
            "+1",
            "1 %",
            "99999999999",
        ] {
            text.parse::<VerifyShare>().expect_err(text);
        }
    }

    #[test]
    fn a_share_of_something_is_something_and_never_too_much() {
        let share = |text: &str| text.parse::<VerifyShare>().expect(text);
        assert_eq!(share("0.0001").of(1), 1);
        assert_eq!(share("50").of(3), 2);
        assert_eq!(share("100").of(u64::MAX), u64::MAX);
        assert_eq!(share("7").of(0), 0);
    }
}
