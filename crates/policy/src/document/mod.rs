//! The policy document: what a protected item is protected by, in one piece.
//!
//! The same shape as TOML and as JSON. Fields that are not known are refused, so that a slip is not
//! taken for a default. What a document says is judged by [`Policy::validate`]; docs/policies.md is its manual.

mod defaults;
mod error;
mod validate;

use jiff::tz::{TimeZone, TimeZoneDatabase};
use serde::{Deserialize, Serialize};
use tresor_model::Consistency;

use crate::{
    calendar::{Calendar, UnknownZone, ZoneName},
    length::Length,
    rules::Rules,
    windows::{Recurring, Windows},
};
pub use error::{PolicyError, PolicyProblem};

/// A policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// What it is called: 1 to 63 letters, digits, `.`, `_` and `-`, a letter or digit first.
    pub name: String,
    /// When backups start; at least one.
    pub schedules: Vec<Schedule>,
    /// Which recovery points stay. Default: all.
    #[serde(default)]
    pub retention: Rules,
    /// How consistent recovery points are.
    #[serde(default)]
    pub consistency: ConsistencyGoal,
    /// How long each sub-task may take.
    #[serde(default)]
    pub limits: TimeLimits,
    /// What becomes of a backup that failed.
    #[serde(default)]
    pub retry: Retry,
    /// How fast it may read and send.
    #[serde(default)]
    pub bandwidth: Bandwidth,
    /// How many backups may run at once.
    #[serde(default)]
    pub concurrency: Concurrency,
    /// When nothing starts. What runs goes on. Default: never.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blackouts: Vec<Blackout>,
    /// Whether findings may be remedied without asking. Default: true.
    #[serde(default = "defaults::yes")]
    pub automatic_remedies: bool,
}

/// When backups start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// When a backup is due: a calendar expression, such as `Mon..Fri 22:00`.
    pub calendar: Calendar,
    /// In whose time, unless the expression names a zone. Default: the service's zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<ZoneName>,
    /// How long after that a start may be placed, so that not all start at once. 1 minute to 7 days.
    /// Default: `1h`.
    #[serde(default = "defaults::window")]
    pub window: Length,
}

/// A time in which nothing starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blackout {
    /// When it begins: a calendar expression.
    pub calendar: Calendar,
    /// In whose time, unless the expression names a zone. Default: the service's zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<ZoneName>,
    /// How long it lasts. 1 minute to 31 days.
    pub lasts: Length,
}

/// How consistent recovery points are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConsistencyGoal {
    /// What is tried for. Default: `file-system`.
    pub wanted: Consistency,
    /// Below this no recovery point is made; above it and below what is wanted, one with a warning.
    /// Default: `crash`.
    pub lowest: Consistency,
}

/// How long the sub-tasks of a backup may take, 10 seconds to 30 days each. The time in the queue
/// does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TimeLimits {
    /// "Prepare". Default: `10m`.
    pub prepare: Length,
    /// "Take snapshot". Default: `5m`.
    pub snapshot: Length,
    /// "Transfer data to vault". Default: `1d`.
    pub transfer: Length,
    /// "Commit recovery point". Default: `10m`.
    pub commit: Length,
    /// "Release snapshot". Default: `2m`.
    pub release: Length,
}

/// What becomes of a backup that failed for a cause that may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retry {
    /// How often it is tried in all, 1 to 20. Default: 4.
    pub tries: u32,
    /// The pause before the second try; it doubles with each. 1 second to 1 day. Default: `2m`.
    pub first_pause: Length,
    /// The longest pause. At most 1 day. Default: `1h`.
    pub longest_pause: Length,
}

/// How fast a backup may read and send.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bandwidth {
    /// Most that is read from a VM's disks, in MiB per second. Default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_mib_s: Option<u32>,
    /// Most that is sent into the vault, in MiB per second. Default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upload_mib_s: Option<u32>,
}

/// How many backups may run at once where one of this policy starts: it waits while so many run
/// there, of whatever policy. 1 to 1000 each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Concurrency {
    /// On its host. Default: 2.
    pub host: u32,
    /// Into its vault. Default: 16.
    pub vault: u32,
    /// From its storage group. Default: 4.
    pub storage_group: u32,
}

impl Retry {
    /// The pause before a try, counted from 1. `None` when there is no such try.
    #[must_use]
    pub fn pause_before(&self, attempt: u32) -> Option<Length> {
        if attempt == 0 || attempt > self.tries {
            return None;
        }
        let Some(doubled) = attempt.checked_sub(2) else {
            return Some(Length::from_secs(0));
        };
        let factor = 1_u32.checked_shl(doubled).unwrap_or(u32::MAX);
        let pause = self.first_pause.seconds().saturating_mul(factor);
        Some(Length::from_secs(pause.min(self.longest_pause.seconds())))
    }
}

impl Policy {
    /// Its start windows. A schedule or blackout without a zone is in `default`; zones are looked up
    /// in `zones`.
    ///
    /// # Errors
    /// When a zone does not exist.
    pub fn windows(
        &self,
        default: &TimeZone,
        zones: &TimeZoneDatabase,
    ) -> Result<Windows, UnknownZone> {
        let schedules = self
            .schedules
            .iter()
            .map(|it| recurring(&it.calendar, it.zone.as_ref(), it.window, default, zones));
        let blackouts = self
            .blackouts
            .iter()
            .map(|it| recurring(&it.calendar, it.zone.as_ref(), it.lasts, default, zones));
        Ok(Windows::new(
            schedules.collect::<Result<_, _>>()?,
            blackouts.collect::<Result<_, _>>()?,
        ))
    }
}

fn recurring(
    calendar: &Calendar,
    zone: Option<&ZoneName>,
    lasts: Length,
    default: &TimeZone,
    zones: &TimeZoneDatabase,
) -> Result<Recurring, UnknownZone> {
    let zone = zone.map_or(Ok(default.clone()), |zone| zone.find(zones))?;
    Ok(Recurring {
        timetable: calendar.timetable(&zone, zones)?,
        lasts: lasts.duration(),
    })
}

#[cfg(test)]
mod tests;
