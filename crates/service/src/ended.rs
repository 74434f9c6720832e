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
pub(crate) fn judge(story: &JobStory, attempt: u32, retry: &Retry) -> Option<End> {
    let view = story.view().ok()?;
    let ended = view.ended_at?;
    match view.state {
        JobState::Completed | JobState::CompletedWithWarnings => {
            Some(End::Point(made(&view, ended)))
        }
        JobState::Cancelled if was_stopped(&story.header) => Some(End::Stopped { again_at: ended }),
        JobState::Cancelled => Some(End::Cancelled),
        JobState::Failed => {
            let cause = view.cause?;
            let pause = pause_after(&cause, attempt, retry, story.header.job.id);
            let retry_at = pause.and_then(|pause| ended.checked_add(pause).ok());
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
    use tresor_jobs::NewJob;
    use tresor_model::{JobId, JobKind};

    use super::*;

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
