//! How hard to compress: as hard as the bottleneck leaves time for.
//!
//! When the storage is what everybody waits for, more compression makes a backup faster, since fewer
//! bytes go to it. When the compressors or the source are, it does not, and the usual level, which is
//! also the least, spares the host's CPU for its guests. Levels are looked at again every few frames;
//! every frame says itself how it is coded, so readers need not know.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// The levels that adaptation chooses from: each costs about a fifth to a half more time than the
/// one before.
const LADDER: [i32; 5] = [DEFAULT_LEVEL, 3, 5, 7, 9];
/// Where adaptation begins, and what it never goes below: level 1 stores 4 % more for a twelfth
/// to a sixth less CPU time; docs/adr/2026-11-25-adaptive-level.md has the figures.
pub const DEFAULT_LEVEL: i32 = 2;
/// Frames between two looks: some 100 ms of two compressors.
const WINDOW: u32 = 32;

/// zstd level of what a session writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Level {
    /// Follows the bottleneck, between 2 and 9.
    #[default]
    Adaptive,
    /// Always this one, -7 to 19.
    Fixed(i32),
}

/// How the frames of a session were coded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LevelCounts {
    /// Frames that were tried at each level and gained by it.
    pub compressed: BTreeMap<i32, u64>,
    /// Frames that are stored as they are, because compression gains nothing.
    pub raw: u64,
}

impl std::fmt::Display for LevelCounts {
    /// Shares, the largest level last: `level 1 90 %, level 2 8 %, raw 2 %`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let all = self.compressed.values().sum::<u64>() + self.raw;
        if all == 0 {
            return f.write_str("no frames");
        }
        let share = |count: u64| (count * 100 + all / 2) / all;
        let mut comma = "";
        for (level, count) in &self.compressed {
            write!(f, "{comma}level {level} {} %", share(*count))?;
            comma = ", ";
        }
        if self.raw > 0 {
            write!(f, "{comma}raw {} %", share(self.raw))?;
        }
        Ok(())
    }
}

/// What frames met on their way since the last look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Pressure {
    frames: u32,
    /// Of these, found as many packs on their way to the storage as may be.
    behind_storage: u32,
}

/// Chooses the level of each frame, and counts.
#[derive(Debug)]
pub(crate) struct Levels {
    fixed: Option<i32>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    level: i32,
    pressure: Pressure,
    counts: LevelCounts,
}

impl Levels {
    pub(crate) fn new(level: Level) -> Self {
        let fixed = match level {
            Level::Adaptive => None,
            Level::Fixed(level) => Some(level.clamp(-7, 19)),
        };
        Self {
            fixed,
            state: Mutex::new(State {
                level: fixed.unwrap_or(DEFAULT_LEVEL),
                pressure: Pressure::default(),
                counts: LevelCounts::default(),
            }),
        }
    }

    /// The level of the next frame, which found the storage behind or not.
    pub(crate) fn next(&self, behind_storage: bool) -> i32 {
        let mut state = self.state();
        if self.fixed.is_none() {
            let pressure = &mut state.pressure;
            pressure.frames += 1;
            pressure.behind_storage += u32::from(behind_storage);
            if pressure.frames >= WINDOW {
                let level = decide_level(state.level, state.pressure);
                if level != state.level {
                    tracing::debug!(from = state.level, to = level, pressure = ?state.pressure, "another compression level");
                }
                state.level = level;
                state.pressure = Pressure::default();
            }
        }
        state.level
    }

    /// Counts a frame; `None`: it is stored raw.
    pub(crate) fn count(&self, level: Option<i32>) {
        let counts = &mut self.state().counts;
        match level {
            Some(level) => *counts.compressed.entry(level).or_default() += 1,
            None => counts.raw += 1,
        }
    }

    pub(crate) fn counts(&self) -> LevelCounts {
        self.state().counts.clone()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The level that follows from what the last frames met. Pure. One step at a time: a level shows
/// its effect only when the frames that are under way have gone.
fn decide_level(level: i32, pressure: Pressure) -> i32 {
    let at = LADDER.partition_point(|step| *step < level);
    let up = LADDER.get(at + 1).copied().unwrap_or(level);
    let down = at.checked_sub(1).and_then(|at| LADDER.get(at).copied());
    let down = down.unwrap_or(level);
    if pressure.behind_storage > pressure.frames / 2 {
        up
    } else {
        down
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_follows_the_bottleneck() {
        // Level, frames behind the storage, next level.
        let cases = [
            (2, 32, 3, "the storage is behind"),
            (9, 32, 9, "there is nothing above"),
            (
                2,
                0,
                2,
                "something else is behind, and there is nothing below",
            ),
            (3, 0, 2, "the storage has time again"),
            (7, 12, 5, "down one step only"),
            (2, 16, 2, "half is not most"),
            (2, 17, 3, "one more is"),
        ];
        for (level, behind_storage, expected, why) in cases {
            let pressure = Pressure {
                frames: 32,
                behind_storage,
            };
            assert_eq!(decide_level(level, pressure), expected, "{why}");
        }
    }

    #[test]
    fn a_level_is_looked_at_again_after_a_window_of_frames() {
        let levels = Levels::new(Level::Adaptive);
        let chosen: Vec<i32> = (0..WINDOW).map(|_| levels.next(true)).collect();
        assert_eq!(chosen[..31], [2; 31]);
        assert_eq!(chosen[31], 3);
        let fixed = Levels::new(Level::Fixed(99));
        assert!((0..100).all(|_| fixed.next(true) == 19));
    }

    #[test]
    fn shares_are_said() {
        let levels = Levels::new(Level::Adaptive);
        assert_eq!(levels.counts().to_string(), "no frames");
        (0..9).for_each(|_| levels.count(Some(1)));
        levels.count(Some(2));
        (0..2).for_each(|_| levels.count(None));
        assert_eq!(
            levels.counts().to_string(),
            "level 1 75 %, level 2 8 %, raw 17 %"
        );
    }
}
