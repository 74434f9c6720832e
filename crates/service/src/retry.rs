//! When a backup that failed is tried again: by its cause, and by the policy's patience.

use std::time::Duration;

use tresor_model::JobId;
use tresor_policy::Retry;
use tresor_problem::{Problem, Retry as Helps};

/// The pause before the next try after `attempt` tries have failed; `None`: no further one.
///
/// - A cause that may pass by itself is tried again soon, each time later.
/// - One that needs somebody's hand is tried again at the longest pause: by then somebody may have lent it.
/// - One that stays is not tried again.
///
/// Of jobs that failed together (a host, a vault or a network was away) each comes back a little later than
/// the other, by up to a quarter of the pause.
#[must_use]
pub fn pause_after(
    problem: &Problem,
    attempt: u32,
    policy: &Retry,
    job: JobId,
) -> Option<Duration> {
    let pause = policy.pause_before(attempt.saturating_add(1))?;
    let seconds = match problem.retry {
        Helps::Helps => pause.seconds(),
        Helps::AfterRemedy => policy.longest_pause.seconds(),
        Helps::Never => return None,
    };
    let pause = Duration::from_secs(seconds.into());
    Some(pause + spread(job, pause / 4))
}

/// Up to `most`, always the same for a job: the last bytes of its id are random.
fn spread(job: JobId, most: Duration) -> Duration {
    let share = f64::from(job.as_uuid().as_bytes()[15]) / 256.0;
    most.mul_f64(share)
}

#[cfg(test)]
mod tests {
    use tresor_problem::Kind;

    use super::*;

    fn of(retry: Helps) -> Problem {
        let mut problem = Problem::from(Kind::Internal {
            what: "x".to_owned(),
        });
        problem.retry = retry;
        problem
    }

    fn seconds(retry: Helps, attempt: u32) -> Option<u64> {
        let job = JobId::from_uuid(uuid::Uuid::nil());
        let pause = pause_after(&of(retry), attempt, &Retry::default(), job);
        pause.map(|pause| pause.as_secs())
    }

    #[test]
    fn what_may_pass_is_tried_again_each_time_later_and_not_for_ever() {
        let pauses: Vec<_> = (1..=4)
            .map(|attempt| seconds(Helps::Helps, attempt))
            .collect();
        assert_eq!(pauses, [Some(120), Some(240), Some(480), None]);
    }

    #[test]
    fn what_needs_a_hand_is_tried_at_the_longest_pause() {
        assert_eq!(seconds(Helps::AfterRemedy, 1), Some(3600));
        assert_eq!(seconds(Helps::AfterRemedy, 4), None);
    }

    #[test]
    fn what_stays_is_not_tried_again() {
        assert_eq!(seconds(Helps::Never, 1), None);
    }

    #[test]
    fn those_that_failed_together_come_back_apart() {
        let pause = |_| {
            let problem = of(Helps::Helps);
            pause_after(&problem, 1, &Retry::default(), JobId::generate()).unwrap()
        };
        let pauses: std::collections::BTreeSet<_> = (0..50).map(pause).collect();
        assert!(pauses.len() > 20, "{}", pauses.len());
        let (least, most) = (pauses.first().unwrap(), pauses.last().unwrap());
        assert!(least.as_secs() >= 120 && most.as_secs() < 150);
    }
}
