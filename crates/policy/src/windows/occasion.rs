//! What is due, one after the other.

use jiff::Timestamp;
use serde::Serialize;

use super::{Windows, blackout::Blackouts};
use crate::calendar::Elapses;

/// A time in which a start may be placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct StartWindow {
    /// The first moment of it.
    pub opens: Timestamp,
    /// The first moment after it.
    pub closes: Timestamp,
}

/// One moment of the schedules: one start, in any of its windows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Occasion {
    /// The moment that the calendar has.
    pub due: Timestamp,
    /// The end of the schedule's window, or the next moment that is due when that is earlier.
    pub ends: Timestamp,
    /// What blackouts leave of that time, in order. Empty when they cover it.
    pub windows: Vec<StartWindow>,
}

/// The occasions of [`Windows`], in order.
#[derive(Debug, Clone)]
pub struct Occasions<'a> {
    schedules: Vec<Coming<'a>>,
    blackouts: Vec<Blackouts<'a>>,
}

/// A schedule, and what is due next of it.
#[derive(Debug, Clone)]
struct Coming<'a> {
    elapses: Elapses<'a>,
    due: Option<Timestamp>,
    /// The end of its window.
    ends: Timestamp,
    lasts: jiff::SignedDuration,
}

impl Coming<'_> {
    fn go_on(&mut self) {
        self.due = self.elapses.next();
        if let Some(due) = self.due {
            self.ends = due.saturating_add(self.lasts).unwrap_or(Timestamp::MAX);
        }
    }
}

impl<'a> Occasions<'a> {
    pub(super) fn new(windows: &'a Windows, after: Timestamp) -> Self {
        let schedules = windows.schedules.iter().map(|schedule| {
            let mut coming = Coming {
                elapses: schedule.timetable.elapses_after(after),
                due: None,
                ends: after,
                lasts: schedule.lasts,
            };
            coming.go_on();
            coming
        });
        Self {
            schedules: schedules.collect(),
            blackouts: windows.blackouts.iter().map(Blackouts::new).collect(),
        }
    }

    fn next_due(&self) -> Option<Timestamp> {
        self.schedules.iter().filter_map(|coming| coming.due).min()
    }
}

impl Iterator for Occasions<'_> {
    type Item = Occasion;

    fn next(&mut self) -> Option<Occasion> {
        let due = self.next_due()?;
        let mut ends = due;
        for coming in &mut self.schedules {
            if coming.due == Some(due) {
                ends = ends.max(coming.ends);
                coming.go_on();
            }
        }
        if let Some(next) = self.next_due() {
            ends = ends.min(next);
        }
        let whole = StartWindow {
            opens: due,
            closes: ends,
        };
        let blackouts = self.blackouts.iter_mut();
        let windows = blackouts.fold(vec![whole], |left, blackout| blackout.out_of(left));
        Some(Occasion { due, ends, windows })
    }
}
