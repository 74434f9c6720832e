//! Taking blackouts out of a window.

use std::collections::VecDeque;

use jiff::Timestamp;

use super::{Recurring, StartWindow};
use crate::calendar::Elapses;

/// The times of one blackout, for windows that are asked for in their order.
#[derive(Debug, Clone)]
pub(super) struct Blackouts<'a> {
    blackout: &'a Recurring,
    elapses: Elapses<'a>,
    /// Those that have begun before the end of the last window and may not be over.
    begun: VecDeque<StartWindow>,
    /// The next one.
    next: Option<StartWindow>,
}

impl<'a> Blackouts<'a> {
    pub(super) fn new(blackout: &'a Recurring) -> Self {
        Self {
            blackout,
            elapses: blackout.timetable.elapses_after(Timestamp::MIN),
            begun: VecDeque::new(),
            next: None,
        }
        .sought(Timestamp::MIN)
    }

    /// From the first one on that is not over at `at`.
    fn sought(mut self, at: Timestamp) -> Self {
        self.seek(at);
        self
    }

    fn seek(&mut self, at: Timestamp) {
        let before = at.saturating_sub(self.blackout.lasts);
        let before = before.unwrap_or(Timestamp::MIN);
        self.elapses = self.blackout.timetable.elapses_after(before);
        self.pull();
    }

    fn pull(&mut self) {
        self.next = self.elapses.next().map(|opens| StartWindow {
            opens,
            closes: opens
                .saturating_add(self.blackout.lasts)
                .unwrap_or(Timestamp::MAX),
        });
    }

    /// What is left of `windows`, which lie in order and not before those of the last call.
    pub(super) fn out_of(&mut self, windows: Vec<StartWindow>) -> Vec<StartWindow> {
        let (Some(first), Some(last)) = (windows.first().copied(), windows.last().copied()) else {
            return windows;
        };
        while self
            .begun
            .front()
            .is_some_and(|over| over.closes <= first.opens)
        {
            self.begun.pop_front();
        }
        // Over a time without windows it is not counted through.
        if self.next.is_some_and(|next| next.closes <= first.opens) {
            self.seek(first.opens);
        }
        while let Some(next) = self.next.filter(|next| next.opens < last.closes) {
            if next.closes > first.opens {
                self.begun.push_back(next);
            }
            self.pull();
        }
        let mut left = Vec::with_capacity(windows.len());
        let mut begun = 0;
        for window in windows {
            // Both are in order: what is over before a window is so before the next.
            while self
                .begun
                .get(begun)
                .is_some_and(|over| over.closes <= window.opens)
            {
                begun += 1;
            }
            cut(window, self.begun.range(begun..), &mut left);
        }
        left
    }
}

/// What blackouts leave of one window. They are in order, and so is what is left.
fn cut<'a>(
    window: StartWindow,
    blackouts: impl Iterator<Item = &'a StartWindow>,
    left: &mut Vec<StartWindow>,
) {
    let StartWindow { mut opens, closes } = window;
    for blackout in blackouts.take_while(|blackout| blackout.opens < closes) {
        if blackout.opens > opens {
            left.push(StartWindow {
                opens,
                closes: blackout.opens,
            });
        }
        opens = opens.max(blackout.closes);
    }
    if opens < closes {
        left.push(StartWindow { opens, closes });
    }
}
