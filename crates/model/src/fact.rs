//! Facts: what was observed, when, and by whom. Diagnosis rests on nothing else.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What an observer saw. "Not observed" is not "absent".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "seen")]
pub enum Observation {
    /// It is there, with this value.
    Present {
        /// The value, as the fact's name defines it.
        value: serde_json::Value,
    },
    /// The observer looked, and it is not there.
    Absent,
    /// The observer could not look.
    NotObserved {
        /// Why not.
        reason: String,
    },
}

/// One observation with its provenance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// What it is about (`guest-agent.version`, `disk.vda.bitmap`): dotted, stable.
    pub name: String,
    /// What was seen.
    #[serde(flatten)]
    pub observation: Observation,
    /// When, by the observer's clock.
    pub at: Timestamp,
    /// Who looked (`qmp`, `qemu-guest-agent`, `tresor`).
    pub observer: String,
}

impl Fact {
    /// A fact with a value.
    #[must_use]
    pub fn present(
        name: &str,
        value: impl Into<serde_json::Value>,
        observer: &str,
        at: Timestamp,
    ) -> Self {
        Self {
            name: name.to_owned(),
            observation: Observation::Present {
                value: value.into(),
            },
            at,
            observer: observer.to_owned(),
        }
    }

    /// A thing that was looked for and is not there.
    #[must_use]
    pub fn absent(name: &str, observer: &str, at: Timestamp) -> Self {
        Self {
            name: name.to_owned(),
            observation: Observation::Absent,
            at,
            observer: observer.to_owned(),
        }
    }

    /// A thing that could not be looked for.
    #[must_use]
    pub fn not_observed(
        name: &str,
        reason: impl Into<String>,
        observer: &str,
        at: Timestamp,
    ) -> Self {
        Self {
            name: name.to_owned(),
            observation: Observation::NotObserved {
                reason: reason.into(),
            },
            at,
            observer: observer.to_owned(),
        }
    }
}
