//! Items and moments, short to write. Moments are seconds after 2026-01-01.
#![allow(dead_code, reason = "each test file uses some")]
#![expect(clippy::unwrap_used, reason = "tests may panic")]

use std::time::Duration;

use jiff::Timestamp;
use tresor_model::VmId;
use tresor_schedule::{
    Decisions, Expected, Item, Limit, Limits, Place, Placement, Priority, Scheduler, Window,
};
use uuid::Uuid;

const BEGIN: i64 = 1_767_225_600;
pub(crate) const HOUR: i64 = 3600;

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(BEGIN + second).unwrap()
}

pub(crate) fn second(at: Timestamp) -> i64 {
    at.as_second() - BEGIN
}

pub(crate) fn id(number: u32) -> VmId {
    VmId::from_uuid(Uuid::from_u128(u128::from(number) + 1))
}

pub(crate) fn limit(running: u32, gap: u64) -> Limit {
    Limit {
        running,
        start_gap: Duration::from_secs(gap),
    }
}

/// Every host, group and vault bears so many.
pub(crate) fn limits(host: Limit, group: Limit, vault: Limit) -> Limits {
    Limits { host, group, vault }
}

pub(crate) fn window(opens: i64, closes: i64) -> Window {
    Window {
        opens: at(opens),
        closes: at(closes),
        deadline: None,
        next_opens: None,
    }
}

/// On a host, in the group `g`, into the vault `v`; ten minutes; a slot at the window's opening.
pub(crate) fn item(number: u32, host: &str, window: Window) -> Item {
    Item {
        id: id(number),
        place: Place {
            host: host.to_owned(),
            vault: "v".to_owned(),
            group: Some("g".to_owned()),
        },
        window,
        expected: Expected {
            duration: Duration::from_secs(600),
            bytes: 1 << 30,
        },
        last_point: None,
        priority: Priority::Normal,
        not_before: None,
        kept: Some(Duration::ZERO),
    }
}

/// Ticks, and says who starts.
pub(crate) fn starts(scheduler: &mut Scheduler, now: i64) -> Vec<VmId> {
    let decisions = scheduler.tick(at(now));
    decisions.starts.iter().map(|start| start.item).collect()
}

pub(crate) fn placed(offered: tresor_schedule::Offered) -> Placement {
    match offered {
        tresor_schedule::Offered::Placed(placement) => placement,
        other => panic!("{other:?}"),
    }
}

/// What was missed, as people read it.
pub(crate) fn missed(decisions: &Decisions) -> Vec<String> {
    let missed = decisions.missed.iter();
    missed
        .map(|missed| format!("{}; {}", missed.reason, missed.then))
        .collect()
}
