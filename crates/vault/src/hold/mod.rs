//! Having the store itself hold what is immutable: S3's Object Lock, through
//! [`tresor_backend::Backend::retain_until`].
//!
//! Marks (docs/format/state.md) bind Tresor. Whoever has credentials of the store is bound only by the
//! store. So the objects that an immutable point needs are held there until its date, where a store can
//! do this: its session's, all packs that its trees lead to, and what opens and explains them (header,
//! keys, locks, states).
//!
//! # Order
//! The mark comes first, and counts if the store refuses. A crash in between leaves a point that Tresor
//! keeps and the store does not hold yet; doing the same again holds it.
//!
//! # Cost (I9)
//! A walk over what a point's trees have that a point before, which is held as long, has not. Of each
//! object the store is asked once for each date; [`HeldNote`] remembers. In a locked vault every point
//! is immutable for longer than the one before, so dates are rounded up ([`plan_until`]): what points
//! share is extended once for many of them.

mod note;
mod walk;

pub use note::HeldNote;

use std::collections::BTreeSet;
use std::time::SystemTime;

use futures::{StreamExt, stream};
use jiff::Timestamp;
use serde::Serialize;
use tresor_backend::Retained;
use tresor_model::{PointId, RecoveryPoint, SessionId};
use tresor_vault_format::{PackId, name};

use crate::error::{Error, ErrorKind, Result};
use crate::vault::Vault;

/// Key slots and key rings.
const KEYS: &str = "keys/";
const DAY_S: i64 = 86_400;

/// What came of having a store hold something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Held {
    /// Nothing of it is immutable.
    Nothing,
    /// The store can hold nothing, or is not to: only Tresor keeps what is marked.
    NotSupported,
    /// The store holds all of it.
    ByStore {
        /// At least until then.
        until: Timestamp,
        /// Objects of which the store was asked now; the others were held before.
        asked: u64,
    },
}

/// What the store answers for a set of objects.
enum Answer {
    NotSupported,
    Held {
        /// Of so many objects it was asked.
        asked: u64,
        /// They are not there.
        gone: Vec<String>,
    },
}

impl Vault {
    /// Has the store hold what one point needs, until it is not immutable any more. `base` is a point
    /// before it, in case the point does not name one.
    ///
    /// # Errors
    /// [`ErrorKind::PointNotFound`], [`ErrorKind::PointExpired`], [`ErrorKind::PointDeleted`]; when the
    /// storage fails or refuses.
    pub async fn hold_point(
        &self,
        id: PointId,
        base: Option<PointId>,
        note: &mut HeldNote,
    ) -> Result<Held> {
        let now = Timestamp::now();
        let marks = self.marks_of(id).await?;
        let Some(until) = marks.immutable_until.filter(|until| *until > now) else {
            return Ok(Held::Nothing);
        };
        let until = plan_until(until, self.lock_days().await?);
        self.hold_until(id, base, until, note).await
    }

    /// The same for every point that is there, in a vault that is locked or has points that are.
    /// Those that are deleted are left out: nobody restores them before they are brought back.
    ///
    /// # Errors
    /// When the storage fails or refuses.
    pub async fn hold_points(&self, note: &mut HeldNote) -> Result<Held> {
        let (now, days) = (Timestamp::now(), self.lock_days().await?);
        let list = self.points().await?;
        let mut sum = Held::Nothing;
        // The newest first: what it shares with older ones is held for longest then.
        for point in list.points.iter().rev() {
            let marks = list.marks.get(&point.id).copied().unwrap_or_default();
            let Some(until) = marks.immutable_until.filter(|until| *until > now) else {
                continue;
            };
            let of_vm = list.points.iter().filter(|other| other.vm == point.vm);
            let base = of_vm.max_by_key(|other| other.age()).map(|other| other.id);
            let until = plan_until(until, days);
            sum = match (sum, self.hold_until(point.id, base, until, note).await?) {
                (_, Held::NotSupported) => return Ok(Held::NotSupported),
                (
                    Held::ByStore { until, asked },
                    Held::ByStore {
                        until: other,
                        asked: more,
                    },
                ) => Held::ByStore {
                    until: until.min(other),
                    asked: asked + more,
                },
                (sum, Held::Nothing) => sum,
                (_, held) => held,
            };
        }
        Ok(sum)
    }

    async fn hold_until(
        &self,
        id: PointId,
        base: Option<PointId>,
        until: Timestamp,
        note: &mut HeldNote,
    ) -> Result<Held> {
        if note.has_point(id, until) {
            // Its states may be newer than that.
            return self.hold_marks(id, until, note).await;
        }
        // Before anything is walked: most stores hold nothing.
        let header = BTreeSet::from([name::VAULT.to_owned()]);
        let Answer::Held { mut asked, .. } = self.ask(header, until, note).await? else {
            return Ok(Held::NotSupported);
        };
        let point = self.point(id).await?;
        let base = match base.or(point.parent).filter(|base| *base != id) {
            Some(base) if note.has_point(base, until) => self.point(base).await.ok(),
            _ => None,
        };
        let packs = self.packs_since(&point, base.as_ref()).await?;
        let mut names: BTreeSet<String> = packs.iter().map(name::pack).collect();
        names.extend(self.small_objects(id).await?);
        let Answer::Held { asked: more, gone } = self.ask(names, until, note).await? else {
            return Ok(Held::NotSupported);
        };
        asked += more;
        if gone.iter().any(|name| name::parse_pack(name).is_some()) {
            // Lost, or collect has moved what was in them: to which packs, only its plans tell.
            let all = self.inner.store.list(name::PACKS).await?.into_iter();
            let plans = self.inner.store.list(name::PLANS).await?;
            let names = all.chain(plans).map(|meta| meta.name.as_str().to_owned());
            if let Answer::Held { asked: more, .. } = self.ask(names.collect(), until, note).await?
            {
                asked += more;
            }
        }
        note.add_point(id, until);
        Ok(Held::ByStore { until, asked })
    }

    /// For a point whose packs are held: what may have come since.
    async fn hold_marks(&self, id: PointId, until: Timestamp, note: &mut HeldNote) -> Result<Held> {
        let names = self.small_objects(id).await?.into_iter().collect();
        Ok(match self.ask(names, until, note).await? {
            Answer::NotSupported => Held::NotSupported,
            Answer::Held { asked, .. } => Held::ByStore { until, asked },
        })
    }

    /// The packs to which the trees of a point lead, without subtrees that `base` has.
    async fn packs_since(
        &self,
        point: &RecoveryPoint,
        base: Option<&RecoveryPoint>,
    ) -> Result<BTreeSet<PackId>> {
        let mut packs = BTreeSet::new();
        let disks = point.disks.iter().map(|disk| &disk.stream);
        for stream in disks.chain(&point.attachments) {
            let old = base.and_then(|base| {
                let disks = base.disks.iter().map(|disk| &disk.stream);
                let mut old = disks.chain(&base.attachments);
                old.find(|old| old.name == stream.name)
            });
            walk::packs(&self.inner, old, stream, &mut packs).await?;
        }
        Ok(packs)
    }

    /// What is not a pack and a point is nothing without.
    async fn small_objects(&self, id: PointId) -> Result<Vec<String>> {
        let session = SessionId::from_uuid(*id.as_uuid());
        let mut names = vec![
            name::VAULT.to_owned(),
            name::session_begin(session),
            name::session_end(session),
        ];
        let prefixes = [
            KEYS.to_owned(),
            name::LOCKS.to_owned(),
            format!("{}{}-", name::INDEX, session.as_uuid().simple()),
            name::state_prefix(session),
        ];
        for prefix in prefixes {
            let listed = self.inner.store.list(&prefix).await?;
            names.extend(listed.into_iter().map(|meta| meta.name.as_str().to_owned()));
        }
        Ok(names)
    }

    /// Asks the store about all that the note does not have.
    async fn ask(
        &self,
        names: BTreeSet<String>,
        until: Timestamp,
        note: &mut HeldNote,
    ) -> Result<Answer> {
        let store = &self.inner.store;
        let date = SystemTime::from(until);
        let new: Vec<String> = names
            .into_iter()
            .filter(|name| !note.has(name, until))
            .collect();
        let mut answers = stream::iter(new)
            .map(async |name| (store.retain_until(&name, date).await, name))
            .buffer_unordered(store.parallelism());
        let (mut asked, mut gone) = (0, Vec::new());
        while let Some((answer, name)) = answers.next().await {
            match answer {
                Ok(Retained::ByStore) => note.add(name, until),
                Ok(Retained::NotSupported) => return Ok(Answer::NotSupported),
                Err(error) if is_gone(&error) => gone.push(name),
                Err(error) => return Err(error),
            }
            asked += 1;
        }
        Ok(Answer::Held { asked, gone })
    }
}

fn is_gone(error: &Error) -> bool {
    let not_found = tresor_backend::ErrorKind::NotFound;
    matches!(error.kind(), ErrorKind::Storage { kind, .. } if *kind == not_found)
}

/// Until when to hold what is immutable until then. In a vault that is locked for `days`, dates are
/// those of steps of a quarter of it, from one to ten days long: an object that many points share has
/// its date moved once a step, not at each backup, and is held for a step more than it must at most.
fn plan_until(until: Timestamp, days: u32) -> Timestamp {
    if days == 0 {
        return until;
    }
    let step = DAY_S * i64::from((days / 4).clamp(1, 10));
    let second = until.as_second() + i64::from(until.subsec_nanosecond() > 0);
    let end = second + (step - second.rem_euclid(step)) % step;
    // Behind the calendar's end there are no steps.
    Timestamp::from_second(end).unwrap_or(until)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_a_locked_vault_come_in_steps() {
        let at =
            |day: i64, second: i64| Timestamp::from_second(day * DAY_S + second).expect("a time");
        for (until, days, want) in [
            // A point's own date is what was asked for.
            (at(100, 7), 0, at(100, 7)),
            (at(100, 0), 1, at(100, 0)),
            (at(100, 1), 1, at(101, 0)),
            // A quarter of 30 days: 7.
            (at(98, 0), 30, at(98, 0)),
            (at(98, 1), 30, at(105, 0)),
            (at(104, 9), 30, at(105, 0)),
            // Ten at most.
            (at(101, 0), 365, at(110, 0)),
            (Timestamp::MAX, 30, Timestamp::MAX),
        ] {
            assert_eq!(plan_until(until, days), want, "{until} {days}");
        }
    }
}
