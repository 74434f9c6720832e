//! Which objects a partial verification reads, by what is known of earlier ones. Pure.
//!
//! An object waits since it was last read and right, or, if it never was, since it was first seen:
//! whoever put it knew what it was. A share takes those that wait longest, so that as many runs as
//! shares make a whole read everything, whatever comes meanwhile. Without any knowledge all wait
//! equally long, and a seed decides.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use tresor_backend::ObjectMeta;
use tresor_model::{PointId, VerifyShare};
use tresor_vault_format::name::{self, SessionObject};

/// What earlier runs knew of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// When it was first listed.
    pub first: Timestamp,
    /// When it was last read and right.
    pub verified: Option<Timestamp>,
}

impl Seen {
    /// Since when it waits.
    #[must_use]
    pub fn waits_since(&self) -> Timestamp {
        self.verified.unwrap_or(self.first)
    }
}

/// What is known of a vault's objects, by name.
pub type History = BTreeMap<String, Seen>;

/// What to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// This share of the vault's bytes: what waits longest.
    Share(VerifyShare),
    /// What no earlier run knew of.
    SinceLast,
}

/// Chooses what is read now. `seed` decides between what waits equally long.
#[must_use]
pub fn plan_choice(
    choice: Choice,
    listed: &[ObjectMeta],
    history: &History,
    seed: u64,
) -> BTreeSet<String> {
    let name = |meta: &ObjectMeta| meta.name.as_str().to_owned();
    match choice {
        Choice::SinceLast => {
            let new = listed
                .iter()
                .filter(|meta| !history.contains_key(meta.name.as_str()));
            new.map(name).collect()
        }
        Choice::Share(share) => {
            let mut left = share.of(listed.iter().map(|meta| meta.size).sum());
            let mut waiting: Vec<_> = listed
                .iter()
                .map(|meta| (turn(meta, history, seed), meta))
                .collect();
            waiting.sort_unstable_by_key(|(turn, _)| *turn);
            let due = waiting.into_iter().take_while(|(_, meta)| {
                let is_due = left > 0;
                left = left.saturating_sub(meta.size);
                is_due
            });
            due.map(|(_, meta)| name(meta)).collect()
        }
    }
}

/// By what objects take turns. Those that nobody has seen came last; of those that wait since the same
/// moment, what was never read goes before what was read then.
fn turn(meta: &ObjectMeta, history: &History, seed: u64) -> (Timestamp, bool, u64) {
    let seen = history.get(meta.name.as_str());
    let since = seen.map_or(Timestamp::MAX, Seen::waits_since);
    let was_read = seen.is_some_and(|seen| seen.verified.is_some());
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.update(meta.name.as_str().as_bytes());
    let lot = hasher.finalize().as_bytes().first_chunk().copied();
    (since, was_read, u64::from_le_bytes(lot.unwrap_or_default()))
}

/// The recovery points, if they are any, whose own objects are among these.
#[must_use]
pub fn points_among(objects: &BTreeSet<String>) -> BTreeSet<PointId> {
    let sessions = objects
        .iter()
        .filter_map(|object| name::parse_session_object(object));
    let ended = sessions.filter_map(|object| match object {
        SessionObject::End(session) => Some(PointId::from(session)),
        SessionObject::Begin(_) => None,
    });
    ended.collect()
}

/// What a run adds to the history, and takes from it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Learnt {
    /// Seen for the first time.
    pub new: Vec<String>,
    /// Not there any more.
    pub gone: Vec<String>,
    /// Read, and right.
    pub verified: Vec<String>,
}

impl Learnt {
    /// What a run learnt that listed these objects.
    #[must_use]
    pub fn from_list(listed: &[ObjectMeta], history: &History) -> Self {
        let there: BTreeSet<&str> = listed.iter().map(|meta| meta.name.as_str()).collect();
        let new = there.iter().filter(|name| !history.contains_key(**name));
        let gone = history.keys().filter(|name| !there.contains(name.as_str()));
        Self {
            new: new.map(|name| (*name).to_owned()).collect(),
            gone: gone.cloned().collect(),
            verified: Vec::new(),
        }
    }

    /// Takes it over.
    pub fn apply(&self, history: &mut History, now: Timestamp) {
        for name in &self.gone {
            history.remove(name);
        }
        for name in self.new.iter().chain(&self.verified) {
            let seen = Seen {
                first: now,
                verified: None,
            };
            history.entry(name.clone()).or_insert(seen);
        }
        for name in &self.verified {
            if let Some(seen) = history.get_mut(name) {
                seen.verified = Some(now);
            }
        }
    }
}

/// How much of a vault has been read back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Bytes of all objects.
    pub bytes: u64,
    /// Of these, in objects that were read and right at least once.
    pub verified: u64,
    /// Since when the object waits that waits longest.
    pub oldest: Option<Timestamp>,
}

impl Coverage {
    /// By what is known after a run.
    #[must_use]
    pub fn of(listed: &[ObjectMeta], history: &History) -> Self {
        let mut coverage = Self::default();
        for meta in listed {
            coverage.bytes += meta.size;
            let Some(seen) = history.get(meta.name.as_str()) else {
                continue;
            };
            if seen.verified.is_some() {
                coverage.verified += meta.size;
            }
            let since = seen.waits_since();
            coverage.oldest = Some(coverage.oldest.map_or(since, |oldest| oldest.min(since)));
        }
        coverage
    }
}

#[cfg(test)]
mod tests {
    use tresor_backend::ObjectName;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn objects(sizes: impl IntoIterator<Item = u64>) -> Vec<ObjectMeta> {
        let named = (0..).zip(sizes);
        named
            .map(|(number, size)| ObjectMeta {
                name: ObjectName::new(format!("packs/{number:03}")).unwrap(),
                size,
            })
            .collect()
    }

    fn share(text: &str) -> Choice {
        Choice::Share(text.parse().unwrap())
    }

    /// A run in which everything is right.
    fn run(choice: Choice, listed: &[ObjectMeta], history: &mut History, now: i64) -> u64 {
        let chosen = plan_choice(choice, listed, history, 7);
        let mut learnt = Learnt::from_list(listed, history);
        let read = listed
            .iter()
            .filter(|meta| chosen.contains(meta.name.as_str()));
        let bytes = read.map(|meta| meta.size).sum();
        learnt.verified = chosen.into_iter().collect();
        learnt.apply(history, at(now));
        bytes
    }

    #[test]
    fn as_many_runs_as_make_a_whole_read_everything() {
        let listed = objects((1..=200).map(|size| size * 37 % 101 + 1));
        let total: u64 = listed.iter().map(|meta| meta.size).sum();
        let mut history = History::new();
        for number in 0..10 {
            let read = run(share("10"), &listed, &mut history, number);
            assert!((total / 10..total / 10 + 102).contains(&read), "{read}");
        }
        let coverage = Coverage::of(&listed, &history);
        assert_eq!((coverage.verified, coverage.bytes), (total, total));
        assert_eq!(coverage.oldest, Some(at(0)));
        run(share("10%"), &listed, &mut history, 10);
        assert!(Coverage::of(&listed, &history).oldest >= Some(at(1)));
    }

    #[test]
    fn what_comes_later_does_not_keep_the_old_waiting() {
        let listed = objects([10; 20]);
        let mut history = History::new();
        for number in 0..10 {
            // As much comes in each round as is read.
            let there = &listed[..10 + usize::try_from(number).unwrap()];
            run(share("10"), there, &mut history, number);
        }
        for meta in &listed[..7] {
            let seen = history[meta.name.as_str()];
            assert!(seen.verified.is_some(), "{}", meta.name.as_str());
        }
    }

    #[test]
    fn since_last_reads_what_is_new_once() {
        let listed = objects([10, 20, 30, 40]);
        let mut history = History::new();
        assert_eq!(run(share("1"), &listed[..2], &mut history, 0) % 10, 0);
        assert_eq!(run(Choice::SinceLast, &listed, &mut history, 1), 70);
        assert_eq!(run(Choice::SinceLast, &listed, &mut history, 2), 0);
        // What is gone is forgotten, and new when it comes again.
        assert_eq!(run(Choice::SinceLast, &listed[1..], &mut history, 3), 0);
        assert_eq!(history.len(), 3);
        assert_eq!(run(Choice::SinceLast, &listed, &mut history, 4), 10);
    }

    #[test]
    fn little_is_something_and_all_is_all() {
        let listed = objects([10; 9]);
        let none = History::new();
        assert_eq!(plan_choice(share("0.0001"), &listed, &none, 1).len(), 1);
        assert_eq!(plan_choice(share("100"), &listed, &none, 1).len(), 9);
        assert_eq!(plan_choice(share("12"), &listed, &none, 1).len(), 2);
        assert!(plan_choice(share("100"), &[], &none, 1).is_empty());
        let chosen = |seed| plan_choice(share("30"), &listed, &none, seed);
        assert_eq!(chosen(1), chosen(1));
        assert!((2..20).any(|seed| chosen(seed) != chosen(1)));
    }
}
