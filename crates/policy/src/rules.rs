//! The rules, as a user sets them.

use std::fmt;

use jiff::Span;
use serde::{Deserialize, Serialize};

/// How many points to keep. What several rules keep, stays once.
///
/// A rule that is not known is refused: what it keeps would be removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    /// The newest so many.
    #[serde(skip_serializing_if = "is_zero")]
    pub last: u32,
    /// The last point of each of the newest so many hours that have one.
    #[serde(skip_serializing_if = "is_zero")]
    pub hourly: u32,
    /// The same by days.
    #[serde(skip_serializing_if = "is_zero")]
    pub daily: u32,
    /// The same by weeks (ISO 8601: from Monday on).
    #[serde(skip_serializing_if = "is_zero")]
    pub weekly: u32,
    /// The same by months.
    #[serde(skip_serializing_if = "is_zero")]
    pub monthly: u32,
    /// The same by years.
    #[serde(skip_serializing_if = "is_zero")]
    pub yearly: u32,
    /// Every point that is at most so much older than the newest one: `7d`, `1y 6mo`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// Which rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// The newest points.
    Last,
    /// One an hour.
    Hourly,
    /// One a day.
    Daily,
    /// One a week.
    Weekly,
    /// One a month.
    Monthly,
    /// One a year.
    Yearly,
}

impl Rule {
    /// The rules that count, from the finest to the coarsest.
    pub const ALL: [Self; 6] = [
        Self::Last,
        Self::Hourly,
        Self::Daily,
        Self::Weekly,
        Self::Monthly,
        Self::Yearly,
    ];
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Last => "last",
            Self::Hourly => "hourly",
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
            Self::Yearly => "yearly",
        })
    }
}

/// A text that is no duration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RulesError(String);

impl fmt::Display for RulesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RulesError {}

impl Rules {
    /// Whether no rule is set. Then nothing is removed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.within.is_none() && Rule::ALL.iter().all(|rule| self.count(*rule) == 0)
    }

    /// How many points a rule keeps.
    #[must_use]
    pub fn count(&self, rule: Rule) -> u32 {
        match rule {
            Rule::Last => self.last,
            Rule::Hourly => self.hourly,
            Rule::Daily => self.daily,
            Rule::Weekly => self.weekly,
            Rule::Monthly => self.monthly,
            Rule::Yearly => self.yearly,
        }
    }

    /// The span of `within`.
    ///
    /// # Errors
    /// When it is no duration.
    pub fn within_span(&self) -> Result<Option<Span>, RulesError> {
        self.within.as_deref().map(parse_duration).transpose()
    }
}

impl fmt::Display for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<String> = Rule::ALL
            .iter()
            .filter(|rule| self.count(**rule) > 0)
            .map(|rule| format!("{rule} {}", self.count(*rule)))
            .collect();
        parts.extend(self.within.as_ref().map(|span| format!("within {span}")));
        if parts.is_empty() {
            return f.write_str("everything");
        }
        f.write_str(&parts.join(", "))
    }
}

/// Reads a duration as people write it: `12h`, `7d`, `2w`, `6mo`, `1y 6mo`. Not below zero.
///
/// # Errors
/// When it is none.
pub fn parse_duration(text: &str) -> Result<Span, RulesError> {
    let wrong = || {
        RulesError(format!(
            "`{text}` is no duration such as 12h, 7d, 2w, 6mo or 1y"
        ))
    };
    let span: Span = text.trim().parse().map_err(|_| wrong())?;
    if span.is_negative() {
        return Err(wrong());
    }
    Ok(span)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for good in ["0d", "12h", "7d", "2w", "6mo", "1y 6mo", "P7D"] {
            assert!(parse_duration(good).is_ok(), "{good}");
        }
        for bad in ["", "7", "-7d", "7d ago", "seven days"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rules_are_stored_short_and_said_in_words() {
        let rules = Rules {
            daily: 7,
            within: Some("2d".to_owned()),
            ..Rules::default()
        };
        assert_eq!(
            serde_json::to_string(&rules).unwrap(),
            r#"{"daily":7,"within":"2d"}"#
        );
        assert_eq!(rules.to_string(), "daily 7, within 2d");
        let read: Rules = serde_json::from_str("{}").unwrap();
        assert!(read.is_empty());
        assert_eq!(read.to_string(), "everything");
    }
}
