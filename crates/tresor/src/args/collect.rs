//! Freeing what nothing uses.

use std::time::Duration;

use clap::Args;

use super::VaultAccess;

/// A session that is older is of a backup that never ends, unless it is said.
pub(crate) const SESSION_AGE: Duration = Duration::from_secs(7 * 86_400);

/// `tresor collect`
#[derive(Debug, Args)]
pub(crate) struct CollectArgs {
    #[command(flatten)]
    pub(crate) access: VaultAccess,

    /// Only show what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Rewrite a pack when at least so many percent of it are freed; 101: rewrite none
    #[arg(long, value_name = "PERCENT", default_value_t = tresor_vault::DEFAULT_MIN_GAIN,
          value_parser = clap::value_parser!(u8).range(1..=101))]
    pub(crate) min_gain: u8,

    /// Abort sessions of backups that began so long ago and have not ended, e.g. 36h or 7d; younger
    /// ones are waited for. Also a backup that still runs loses then [default: 7d]
    #[arg(long, value_name = "AGE", value_parser = age)]
    pub(crate) abort_sessions_older_than: Option<Duration>,

    /// Wait at most so long for backups that run; then the next collect goes on [default: until they
    /// have ended]
    #[arg(long, value_name = "TIME", value_parser = age)]
    pub(crate) wait: Option<Duration>,
}

/// A number with a unit: `90s`, `15m`, `36h`, `7d`.
fn age(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no number with s, m, h or d behind it, like 36h");
    let split = text
        .len()
        .checked_sub(1)
        .filter(|at| text.is_char_boundary(*at));
    let (number, unit) = text.split_at(split.ok_or_else(wrong)?);
    let seconds: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let all = number.checked_mul(seconds).ok_or_else(wrong)?;
    Ok(Duration::from_secs(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_a_unit() {
        let good = [
            ("0s", 0),
            ("90s", 90),
            ("15m", 900),
            ("36h", 129_600),
            ("7d", 604_800),
        ];
        for (text, seconds) in good {
            assert_eq!(age(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in [
            "",
            "7",
            "d",
            "-1d",
            "7 d",
            "7w",
            "7é",
            "99999999999999999999d",
        ] {
            assert!(age(text).is_err(), "{text}");
        }
    }
}
