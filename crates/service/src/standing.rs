//! How an item stands, at a glance.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use tresor_catalog::{ItemRecord, ItemState};

use crate::{outlook::Outlook, whereabouts::PATIENCE};

/// A point is there a while after its start: what a transfer may take before it counts as late, where
/// nothing is known of the item.
const TRANSFER: SignedDuration = SignedDuration::from_hours(1);

/// How an item stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "standing")]
pub enum Standing {
    /// Its last recovery point is as young as its policy promises.
    Fresh,
    /// It has none yet, and its first window is still to come or open.
    Waiting,
    /// Its next recovery point should be there.
    Late {
        /// Since then.
        since: Timestamp,
    },
    /// Its VM is not found any more: no backup can be made.
    Vanished {
        /// Since then.
        since: Timestamp,
    },
    /// No backups are made of it.
    Stopped,
}

impl Standing {
    /// Judges an item at `now`.
    #[must_use]
    pub fn of(item: &ItemRecord, outlook: &Outlook, now: Timestamp) -> Self {
        if item.state != ItemState::Protected {
            return Self::Stopped;
        }
        if let Some(since) = item.gone_since
            && now.duration_since(since) >= PATIENCE
        {
            return Self::Vanished { since };
        }
        match Self::due(item, outlook, now) {
            Some(since) if since < now => Self::Late { since },
            _ if item.memory.last_point_at.is_none() => Self::Waiting,
            _ => Self::Fresh,
        }
    }

    /// When an item's next recovery point is late; `None`: it need not be there at any time.
    #[must_use]
    pub fn due(item: &ItemRecord, outlook: &Outlook, now: Timestamp) -> Option<Timestamp> {
        if item.state != ItemState::Protected {
            return None;
        }
        let memory = &item.memory;
        let known = memory
            .expected_s
            .and_then(|seconds| i64::try_from(seconds).ok());
        let takes = known.map_or(TRANSFER, |seconds| {
            SignedDuration::from_secs(seconds.saturating_mul(2)).max(SignedDuration::from_mins(10))
        });
        let due = match memory.last_point_at {
            Some(point) => outlook.gap().and_then(|gap| point.checked_add(gap).ok()),
            None => {
                let first = outlook.window_after(item.since, None, None, now);
                first.map(|window| window.closes)
            }
        };
        due.and_then(|due| due.checked_add(takes).ok())
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;
    use tresor_catalog::Memory;
    use tresor_model::VmId;
    use tresor_policy::Policy;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_table_of_standings() {
        let day = at("2026-03-02T12:00:00Z");
        let outlook = Outlook::new(Policy::nightly(), 1, &TimeZone::UTC, day).unwrap();
        let cases = [
            // Protected at noon: the first window closes at four, and a transfer may take an hour.
            (
                None,
                ItemState::Protected,
                "2026-03-02T13:00:00Z",
                Standing::Waiting,
            ),
            (
                None,
                ItemState::Protected,
                "2026-03-03T04:30:00Z",
                Standing::Waiting,
            ),
            (
                None,
                ItemState::Protected,
                "2026-03-03T05:10:00Z",
                Standing::Late {
                    since: at("2026-03-03T04:59:59Z"),
                },
            ),
            (
                Some("2026-03-02T22:00:00Z"),
                ItemState::Protected,
                "2026-03-03T22:00:00Z",
                Standing::Fresh,
            ),
            (
                Some("2026-03-02T22:00:00Z"),
                ItemState::StoppedKept,
                "2027-03-03T22:00:00Z",
                Standing::Stopped,
            ),
        ];
        for (point, state, now, expected) in cases {
            let item = ItemRecord {
                vm: VmId::generate(),
                vm_name: "web01".to_owned(),
                host: None,
                vault: "main".to_owned(),
                policy: "nightly".to_owned(),
                state,
                since: day,
                gone_since: None,
                memory: Memory {
                    last_point_at: point.map(at),
                    ..Memory::default()
                },
            };
            assert_eq!(
                Standing::of(&item, &outlook, at(now)),
                expected,
                "{point:?} at {now}"
            );
        }
        let mut item = ItemRecord {
            vm: VmId::generate(),
            vm_name: "web01".to_owned(),
            host: None,
            vault: "main".to_owned(),
            policy: "nightly".to_owned(),
            state: ItemState::Protected,
            since: day,
            gone_since: None,
            memory: Memory {
                last_point_at: Some(at("2026-03-02T22:00:00Z")),
                ..Memory::default()
            },
        };
        let stands = |item: &ItemRecord| Standing::of(item, &outlook, at("2026-03-04T06:00:00Z"));
        assert!(matches!(stands(&item), Standing::Late { .. }));
        item.gone_since = Some(at("2026-03-04T05:30:00Z"));
        assert!(matches!(stands(&item), Standing::Late { .. }));
        let since = at("2026-03-04T05:00:00Z");
        item.gone_since = Some(since);
        assert_eq!(stands(&item), Standing::Vanished { since });
        item.state = ItemState::StoppedDeleted;
        assert_eq!(stands(&item), Standing::Stopped);
    }
}
