//! The decision.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::{Timestamp, Zoned, tz::TimeZone};
use serde::Serialize;
use tresor_model::{PointId, VmId};

use crate::rules::{Rule, Rules, RulesError};

/// What is known of a recovery point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Point {
    /// Its id.
    pub id: PointId,
    /// Its VM.
    pub vm: VmId,
    /// The VM's how-manieth it is; 0 when nobody counted.
    pub sequence: u64,
    /// The moment whose data it is, by the clock of the machine that made it.
    pub taken_at: Timestamp,
    /// Whether it can be restored, as far as is known.
    pub readable: bool,
    /// Somebody wants it to stay.
    pub pinned: bool,
    /// It cannot be removed before.
    pub immutable_until: Option<Timestamp>,
    /// Somebody deleted it.
    pub deleted: Option<Deletion>,
}

/// A deletion that can still be taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Deletion {
    /// When.
    pub at: Timestamp,
    /// It can be taken back at least until then.
    pub until: Timestamp,
}

/// Why a point stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "why")]
pub enum KeepReason {
    /// It is the newest of its VM.
    Newest,
    /// A rule counts it: the `place`-th of `of` (from 1), the last point of `period`.
    Counted {
        /// The rule.
        rule: Rule,
        /// Which of the rule's it is, from 1.
        place: u32,
        /// How many the rule keeps.
        of: u32,
        /// The hour, day and so on; empty for the newest ones.
        period: String,
    },
    /// It is not older than this.
    Within {
        /// The duration, as it was set.
        span: String,
    },
    /// Somebody pinned it.
    Pinned,
    /// It cannot be removed before.
    Immutable {
        /// The end of this.
        until: Timestamp,
    },
    /// It cannot be read, so nobody knows what it is worth.
    Unreadable,
    /// Its VM has no rules.
    NoRules,
    /// It is deleted, and the deletion can still be taken back.
    Grace {
        /// At least until then.
        until: Timestamp,
    },
}

/// Why a point goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "why")]
pub enum RemoveReason {
    /// Another point stands for the same period.
    Superseded {
        /// The rule with that period.
        rule: Rule,
        /// The hour, day and so on.
        period: String,
        /// The point that stays for it.
        by: PointId,
    },
    /// It lies behind everything that the rules count.
    BehindAll,
    /// Nobody wants its VM's data any more.
    Unwanted,
    /// It was deleted, and the time to take this back is over: it goes for good.
    GraceOver {
        /// When it was deleted.
        deleted: Timestamp,
        /// Since when it is over.
        since: Timestamp,
    },
}

/// What becomes of a point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It stays, for all these reasons.
    Keep(Vec<KeepReason>),
    /// It goes.
    Remove(RemoveReason),
}

/// What becomes of which point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// The point.
    pub point: PointId,
    /// Its VM.
    pub vm: VmId,
    /// The verdict.
    pub verdict: Verdict,
}

/// Decides about all `points`, by the rules of their VMs. A VM without rules keeps everything but
/// what was deleted and is over. Decisions are by VM, newest point first.
///
/// # Errors
/// When a rule's duration is none, or leads out of the calendar.
pub fn decide(
    points: &[Point],
    rules: &BTreeMap<VmId, Rules>,
    zone: &TimeZone,
    now: Timestamp,
) -> Result<Vec<Decision>, RulesError> {
    let mut of_vm: BTreeMap<VmId, Vec<&Point>> = BTreeMap::new();
    for point in points {
        of_vm.entry(point.vm).or_default().push(point);
    }
    let none = Rules::default();
    let mut decisions = Vec::with_capacity(points.len());
    for (vm, mut points) in of_vm {
        points.sort_by_key(|point| std::cmp::Reverse((point.sequence, point.taken_at, point.id)));
        let rules = rules.get(&vm).unwrap_or(&none);
        let chosen = Chosen::by(rules, &points, zone, now)?;
        decisions.extend(points.into_iter().map(|point| Decision {
            point: point.id,
            vm,
            verdict: judge(point, &chosen, zone, now),
        }));
    }
    Ok(decisions)
}

/// Decides about points of VMs whose data nobody wants any more: all go that nothing holds, the newest
/// too. Decisions are by VM, newest point first.
#[must_use]
pub fn let_go(points: &[Point], now: Timestamp) -> Vec<Decision> {
    let mut points: Vec<_> = points.iter().collect();
    points.sort_by_key(|point| {
        let age = std::cmp::Reverse((point.sequence, point.taken_at, point.id));
        (point.vm, age)
    });
    let decisions = points.into_iter().map(|point| Decision {
        point: point.id,
        vm: point.vm,
        verdict: match held(point, now) {
            Held::Unmarked(reasons) if reasons.is_empty() => {
                Verdict::Remove(RemoveReason::Unwanted)
            }
            Held::Unmarked(reasons) => Verdict::Keep(reasons),
            Held::Deleted(verdict) => verdict,
        },
    });
    decisions.collect()
}

fn judge(point: &Point, chosen: &Chosen<'_>, zone: &TimeZone, now: Timestamp) -> Verdict {
    let mut reasons = match held(point, now) {
        Held::Deleted(verdict) => return verdict,
        Held::Unmarked(reasons) => reasons,
    };
    if let Some(counted) = chosen.reasons.get(&point.id) {
        reasons.splice(0..0, counted.iter().cloned());
    }
    if reasons.is_empty() {
        Verdict::Remove(chosen.why_not(point, zone))
    } else {
        Verdict::Keep(reasons)
    }
}

/// What is marked of a point, whatever rules say.
enum Held {
    /// It was deleted: this becomes of it.
    Deleted(Verdict),
    /// It was not; it stays for these reasons, if there are any.
    Unmarked(Vec<KeepReason>),
}

fn held(point: &Point, now: Timestamp) -> Held {
    let mut reasons = Vec::new();
    if point.pinned {
        reasons.push(KeepReason::Pinned);
    }
    if let Some(until) = point.immutable_until.filter(|until| *until > now) {
        reasons.push(KeepReason::Immutable { until });
    }
    if !point.readable {
        reasons.push(KeepReason::Unreadable);
    }
    if let Some(deleted) = point.deleted {
        if deleted.until > now {
            reasons.push(KeepReason::Grace {
                until: deleted.until,
            });
        }
        if reasons.is_empty() {
            return Held::Deleted(Verdict::Remove(RemoveReason::GraceOver {
                deleted: deleted.at,
                since: deleted.until,
            }));
        }
        return Held::Deleted(Verdict::Keep(reasons));
    }
    Held::Unmarked(reasons)
}

/// What the rules choose of one VM's points.
struct Chosen<'a> {
    rules: &'a Rules,
    reasons: BTreeMap<PointId, Vec<KeepReason>>,
    /// Who stands for a period.
    stands: BTreeMap<(Rule, String), PointId>,
}

impl<'a> Chosen<'a> {
    /// `points` are in order, the newest first.
    fn by(
        rules: &'a Rules,
        points: &[&Point],
        zone: &TimeZone,
        now: Timestamp,
    ) -> Result<Self, RulesError> {
        let good: Vec<&Point> = points
            .iter()
            .copied()
            .filter(|point| point.readable && point.deleted.is_none())
            .collect();
        let mut chosen = Self {
            rules,
            reasons: BTreeMap::new(),
            stands: BTreeMap::new(),
        };
        if let Some(newest) = good.first() {
            chosen.keep(newest, KeepReason::Newest);
        }
        if rules.is_empty() {
            for point in &good {
                chosen.keep(point, KeepReason::NoRules);
            }
            return Ok(chosen);
        }
        for rule in Rule::ALL {
            chosen.count(rule, &good, zone);
        }
        chosen.within(&good, zone, now)?;
        Ok(chosen)
    }

    fn keep(&mut self, point: &Point, reason: KeepReason) {
        self.reasons.entry(point.id).or_default().push(reason);
    }

    /// The newest point of each of the newest periods. A period that was seen already is not
    /// opened again: with a clock that jumps, points of one day need not follow each other.
    fn count(&mut self, rule: Rule, good: &[&Point], zone: &TimeZone) {
        let of = self.rules.count(rule);
        let mut seen = BTreeSet::new();
        for point in good {
            if seen.len() >= of as usize {
                return;
            }
            let period = period(rule, point, zone);
            let key = if rule == Rule::Last {
                point.id.to_string()
            } else {
                period.clone()
            };
            if seen.insert(key) {
                let place = u32::try_from(seen.len()).unwrap_or(u32::MAX);
                self.stands.insert((rule, period.clone()), point.id);
                let counted = KeepReason::Counted {
                    rule,
                    place,
                    of,
                    period,
                };
                self.keep(point, counted);
            }
        }
    }

    /// Measured from the newest point, so that a VM whose backups have stopped loses none; from
    /// now on when that point's time lies ahead.
    fn within(
        &mut self,
        good: &[&Point],
        zone: &TimeZone,
        now: Timestamp,
    ) -> Result<(), RulesError> {
        let (Some(span), Some(newest)) = (self.rules.within_span()?, good.first()) else {
            return Ok(());
        };
        let from = newest.taken_at.min(now).to_zoned(zone.clone());
        // Before the calendar begins there are no points: everything is within.
        let oldest = from
            .checked_sub(span)
            .map_or(Timestamp::MIN, |oldest| oldest.timestamp());
        let text = self.rules.within.clone().unwrap_or_default();
        for point in good.iter().filter(|point| point.taken_at >= oldest) {
            let span = text.clone();
            self.keep(point, KeepReason::Within { span });
        }
        Ok(())
    }

    /// Why no rule counts a point: the finest period for which another one stands.
    fn why_not(&self, point: &Point, zone: &TimeZone) -> RemoveReason {
        for rule in Rule::ALL.into_iter().filter(|rule| *rule != Rule::Last) {
            let period = period(rule, point, zone);
            if let Some(by) = self.stands.get(&(rule, period.clone())) {
                let by = *by;
                return RemoveReason::Superseded { rule, period, by };
            }
        }
        RemoveReason::BehindAll
    }
}

/// The name of the period in which a point was taken. An hour has its offset: when clocks are set
/// back, the same hour comes twice.
fn period(rule: Rule, point: &Point, zone: &TimeZone) -> String {
    let at: Zoned = point.taken_at.to_zoned(zone.clone());
    let format = match rule {
        Rule::Last => return String::new(),
        Rule::Hourly => "%Y-%m-%d %H:00%:z",
        Rule::Daily => "%Y-%m-%d",
        Rule::Weekly => "%G-W%V",
        Rule::Monthly => "%Y-%m",
        Rule::Yearly => "%Y",
    };
    at.strftime(format).to_string()
}

impl fmt::Display for KeepReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newest => f.write_str("the VM's newest"),
            Self::Counted {
                rule: Rule::Last,
                place,
                of,
                ..
            } => write!(f, "last ({place} of {of})"),
            Self::Counted {
                rule,
                place,
                of,
                period,
            } => write!(f, "{rule} ({place} of {of}: {period})"),
            Self::Within { span } => write!(f, "within {span} of the newest"),
            Self::Pinned => f.write_str("pinned"),
            Self::Immutable { until } => write!(f, "immutable until {}", moment(*until)),
            Self::Unreadable => f.write_str("cannot be read, so it is left alone"),
            Self::NoRules => f.write_str("no rules are set"),
            Self::Grace { until } => {
                write!(f, "deleted, can be brought back until {}", moment(*until))
            }
        }
    }
}

impl fmt::Display for RemoveReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Superseded { rule, period, by } => {
                write!(f, "{rule}: {by} stands for {period}")
            }
            Self::BehindAll => f.write_str("behind everything that the rules keep"),
            Self::Unwanted => f.write_str("its VM's data is to be deleted"),
            Self::GraceOver { deleted, since } => write!(
                f,
                "deleted on {}, could be brought back until {}: goes for good",
                moment(*deleted),
                moment(*since)
            ),
        }
    }
}

fn moment(at: Timestamp) -> impl fmt::Display {
    at.strftime("%Y-%m-%d %H:%M UTC")
}
