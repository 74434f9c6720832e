//! What the end of a backup means for its item.

use std::time::Duration;

use jiff::Timestamp;
use tresor_jobs::{JobHeader, JobStory, JobView};
use tresor_model::JobState;
use tresor_policy::Retry;
use tresor_problem::Problem;

use crate::retry::pause_after;

/// How a job ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum End {
    /// With a recovery point.
    Point(Made),
    /// Somebody ended it.
    Cancelled,
    /// The program that ran it was told to stop, and took it back.
    Stopped {
        /// When it is to be made up for.
        again_at: Timestamp,
    },
    /// It failed.
    Failed {
        /// The first cause.
        cause: Problem,
        /// When it is to be tried again; `None`: not for this window.
        retry_at: Option<Timestamp>,
    },
}

/// What is remembered of a job with a recovery point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Made {
    /// The moment whose data the point has.
    pub(crate) taken_at: Timestamp,
    /// From the first sub-task to the end.
    pub(crate) took: Duration,
    /// Bytes that went to the vault.
    pub(crate) stored: u64,
}

/// Judges a story. `None` while it has not ended, or when it cannot be understood.
///
/// Its times are by the clock of the host that worked on it. What it says of the time after `now` is taken for `now`: by a
/// clock that is ahead, windows that are still to come would be served.
pub(crate) fn judge(story: &JobStory, attempt: u32, retry: &Retry, now: Timestamp) -> Option<End> {
    let view = story.view().ok()?;
    let ended = view.ended_at?;
    match view.state {
        JobState::Completed | JobState::CompletedWithWarnings => {
            let made = made(&view, ended);
            let taken_at = made.taken_at.min(now);
            Some(End::Point(Made { taken_at, ..made }))
        }
        JobState::Cancelled if was_stopped(&story.header) => Some(End::Stopped {
            again_at: ended.min(now),
        }),
        JobState::Cancelled => Some(End::Cancelled),
        JobState::Failed => {
            let cause = view.cause?;
            let pause = pause_after(&cause, attempt, retry, story.header.job.id);
            let retry_at = pause.and_then(|pause| ended.min(now).checked_add(pause).ok());
            Some(End::Failed { cause, retry_at })
        }
        JobState::Queued | JobState::InProgress | JobState::Cancelling => None,
    }
}

/// Whether a job was taken back by a program that was told to stop, and nobody wanted the job itself to end.
pub(crate) fn was_stopped(header: &JobHeader) -> bool {
    header.state == JobState::Cancelled && !header.cancel_requested
}

fn made(view: &JobView, ended: Timestamp) -> Made {
    let begun = view.begun_at.unwrap_or(ended);
    let mut outputs = view.sub_tasks.iter().filter(|task| task.commits);
    let output = outputs.find_map(|task| task.output.as_ref());
    let taken_at = output.and_then(|output| output["taken_at"].as_str()?.parse().ok());
    Made {
        taken_at: taken_at.unwrap_or(begun),
        took: Duration::try_from(ended.duration_since(begun)).unwrap_or_default(),
        stored: output
            .and_then(|output| output["stored"].as_u64())
            .unwrap_or(0),
    }
}

/// What the next run is expected to take, after one that took so much: mostly what was expected before, so that one odd
/// run does not move the others.
pub(crate) fn expected(before: Option<u64>, seen: u64) -> u64 {
    match before {
        None => seen,
        Some(before) => before / 10 * 7 + before % 10 * 7 / 10 + seen / 10 * 3 + seen % 10 * 3 / 10,
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use serde_json::json;
    use tresor_jobs::{JobEvent, JobHeader, NewJob, Owner, RecordedEvent, SubTaskSpec};
    use tresor_model::{JobId, JobKind};

    use super::*;

    /// A backup whose host's clock showed `at`.
    fn story(at: Timestamp) -> JobStory {
        let (owner, state) = (Owner::current(), JobState::Completed);
        let job = NewJob {
            id: JobId::generate(),
            kind: JobKind::Backup,
            subject: "web01".to_owned(),
            lock: None,
            params: json!(null),
            sub_tasks: vec![SubTaskSpec {
                name: "Commit recovery point".to_owned(),
                limit_ms: None,
                commits: true,
            }],
            created_at: at,
        };
        let output = json!({ "taken_at": at, "stored": 7 });
        let events = [
            JobEvent::TakenUp {
                owner: owner.clone(),
            },
            JobEvent::Started { sub_task: 0 },
            JobEvent::Succeeded {
                sub_task: 0,
                output,
            },
            JobEvent::Ended { state },
        ];
        let recorded = |(seq, event)| RecordedEvent { seq, at, event };
        JobStory {
            header: JobHeader {
                job,
                state,
                owner: Some(owner),
                epoch: 1,
                heartbeat_at: at,
                cancel_requested: false,
                progress: None,
                lane: None,
            },
            events: (0..).zip(events).map(recorded).collect(),
        }
    }

    /// Symptom: a VM was not backed up for as long as its host's clock had been ahead. Cause: its last point seemed to
    /// serve the windows until then.
    #[test]
    fn no_point_is_of_the_time_to_come() {
        let now = Timestamp::now();
        for (ahead_s, expected_s) in [(-3000, -3000), (0, 0), (3000, 0)] {
            let at = now + SignedDuration::from_secs(ahead_s);
            let end = judge(&story(at), 1, &Retry::default(), now);
            let expected = now + SignedDuration::from_secs(expected_s);
            assert!(
                matches!(&end, Some(End::Point(made)) if made.taken_at == expected && made.stored == 7),
                "{ahead_s}: {end:?}"
            );
        }
    }

    #[test]
    fn a_stop_is_made_up_for_and_a_cancel_is_not() {
        let mut header = JobHeader {
            job: NewJob {
                id: JobId::generate(),
                kind: JobKind::Backup,
                subject: "web01".to_owned(),
                lock: None,
                params: serde_json::Value::Null,
                sub_tasks: Vec::new(),
                created_at: Timestamp::UNIX_EPOCH,
            },
            state: JobState::Cancelled,
            owner: None,
            epoch: 1,
            heartbeat_at: Timestamp::UNIX_EPOCH,
            cancel_requested: false,
            progress: None,
            lane: None,
        };
        assert!(was_stopped(&header));
        header.cancel_requested = true;
        assert!(!was_stopped(&header));
        header.cancel_requested = false;
        header.state = JobState::Failed;
        assert!(!was_stopped(&header));
    }

    #[test]
    fn one_odd_run_moves_the_guess_by_a_third() {
        assert_eq!(expected(None, 60), 60);
        assert_eq!(expected(Some(100), 200), 130);
        assert_eq!(expected(Some(100), 100), 100);
        assert_eq!(expected(Some(u64::MAX), 0), u64::MAX / 10 * 7 + 3);
    }
}
