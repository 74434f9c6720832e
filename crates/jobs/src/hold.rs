//! Stops this process at a kill point, so that a test can do harm exactly there.
//!
//! # Why it is in the product
//! The harm must meet the real program on a real VM; no sleep hits the few microseconds between an
//! action's end and the record of it. So the engine asks at each moment whether it shall wait.
//!
//! # Where it is not
//! Without the feature `kill-points`, and in every build without debug assertions (a release), the
//! question is a constant "no": see [`wanted`].
//!
//! # How
//! `TRESOR_HOLD` has a list of `SUB_TASK:MOMENT[:MILLISECONDS]`, separated by commas (the time: how
//! long after the begin of the action, for `during`); `TRESOR_HOLD_RELEASE` is the path whose
//! existence, with `.0` behind it for the first stop, `.1` for the second and so on, lets the
//! process go on. Each stop prints one line on stderr, `held at SUB_TASK:MOMENT`.

use std::{io::Write as _, path::PathBuf, sync::Mutex, time::Duration};

use crate::Moment;

const POLL: Duration = Duration::from_millis(5);

/// Where to stop, and what to wait for.
struct Holds {
    /// The stops that are left.
    left: Mutex<Vec<Stop>>,
    release: PathBuf,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Stop {
    number: usize,
    sub_task: usize,
    moment: Moment,
    delay: Duration,
}

/// What the environment asks for.
#[cfg(all(feature = "kill-points", debug_assertions))]
fn wanted() -> Option<&'static Holds> {
    static WANTED: std::sync::OnceLock<Option<Holds>> = std::sync::OnceLock::new();
    let read = || {
        let stops = parse(&std::env::var("TRESOR_HOLD").ok()?)?;
        let release = std::env::var_os("TRESOR_HOLD_RELEASE")?.into();
        let left = Mutex::new(stops);
        Some(Holds { left, release })
    };
    WANTED.get_or_init(read).as_ref()
}

#[cfg(not(all(feature = "kill-points", debug_assertions)))]
const fn wanted() -> Option<&'static Holds> {
    None
}

/// Waits if this is where to stop.
pub(crate) async fn at(sub_task: usize, moment: Moment) {
    let Some(holds) = wanted() else { return };
    if let Some(stop) = holds.take(sub_task, moment) {
        holds.wait(&stop, "").await;
    }
}

/// Runs an action; stops it at an await point some time after its begin, or behind its end when
/// it was shorter.
pub(crate) async fn during<T>(sub_task: usize, action: impl Future<Output = T>) -> T {
    let Some((holds, stop)) =
        wanted().and_then(|holds| Some((holds, holds.take(sub_task, Moment::During)?)))
    else {
        return action.await;
    };
    tokio::pin!(action);
    tokio::select! {
        biased;
        () = tokio::time::sleep(stop.delay) => {
            holds.wait(&stop, "").await;
            action.await
        }
        done = &mut action => {
            holds.wait(&stop, " (it ended earlier)").await;
            done
        }
    }
}

impl Holds {
    fn take(&self, sub_task: usize, moment: Moment) -> Option<Stop> {
        let mut left = self.left.lock().ok()?;
        let wanted = |stop: &Stop| stop.sub_task == sub_task && stop.moment == moment;
        let at = left.iter().position(wanted)?;
        Some(left.remove(at))
    }

    async fn wait(&self, stop: &Stop, note: &str) {
        let Stop {
            number,
            sub_task,
            moment,
            ..
        } = stop;
        // A test that does not listen is a test that will not let us go either.
        writeln!(std::io::stderr(), "held at {sub_task}:{moment}{note}").ok();
        let mut release = self.release.clone().into_os_string();
        release.push(format!(".{number}"));
        let release = PathBuf::from(release);
        while !release.exists() {
            tokio::time::sleep(POLL).await;
        }
    }
}

/// `None` when it cannot be understood: then nothing is held, and the test notices.
#[cfg(any(test, all(feature = "kill-points", debug_assertions)))]
fn parse(text: &str) -> Option<Vec<Stop>> {
    let stops = text.split(',').enumerate().map(|(number, stop)| {
        let mut parts = stop.split(':');
        let sub_task = parts.next()?.parse().ok()?;
        let moment = Moment::of_word(parts.next()?)?;
        let millis = parts.next().map_or(Some(0), |millis| millis.parse().ok())?;
        let delay = Duration::from_millis(millis);
        parts.next().is_none().then_some(Stop {
            number,
            sub_task,
            moment,
            delay,
        })
    });
    stops.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stops_are_read_in_their_order() {
        let stops = parse("2:during:30,1:undo_recorded").expect("two stops");
        let found: Vec<_> = stops
            .iter()
            .map(|stop| {
                (
                    stop.number,
                    stop.sub_task,
                    stop.moment,
                    stop.delay.as_millis(),
                )
            })
            .collect();
        let expected = [(0, 2, Moment::During, 30), (1, 1, Moment::UndoRecorded, 0)];
        assert_eq!(found, expected);
        for odd in ["", "1", "1:never", "x:done", "1:done:5:6"] {
            assert_eq!(parse(odd), None, "{odd}");
        }
    }
}
