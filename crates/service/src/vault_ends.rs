//! What the ends of jobs that look after vaults mean: an alert, or the end of one.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use tresor_catalog::{Catalog, CatalogError};
use tresor_jobs::{JobFilter, JobHeader, JobLog as _, JobView, NewJob, UnwindReason};
use tresor_model::{JobId, JobKind, JobState};
use tresor_problem::Problem;
use tresor_workflows::verify::{VerifyOrder, VerifyWhat};

use crate::{alarm, turn::TurnError};

/// The kinds whose failure nobody else would hear of.
const KINDS: [JobKind; 5] = [
    JobKind::Verify,
    JobKind::Expire,
    JobKind::Collect,
    JobKind::Copy,
    JobKind::Catalog,
];
/// So many jobs of a kind are looked at: more do not end between two looks.
const LOOKED_AT: u32 = 100;

/// What an end means.
#[derive(Debug, Clone, PartialEq)]
enum Meaning {
    /// Nothing is wrong with what it is about.
    Well,
    /// Something is.
    Wrong(Box<Problem>),
    /// It says nothing.
    Nothing,
}

/// The ends that were taken in.
#[derive(Debug, Default)]
pub(crate) struct VaultEnds(BTreeMap<String, JobId>);

impl VaultEnds {
    /// Takes in the last end of each kind and subject. After a restart it is taken in once more: an alert
    /// that is open is only counted up by that.
    pub(crate) async fn take_in(
        &mut self,
        catalog: &Catalog,
        zone: &TimeZone,
    ) -> Result<(), TurnError> {
        for kind in KINDS {
            let filter = JobFilter {
                kind: Some(kind),
                limit: Some(LOOKED_AT),
                ..JobFilter::default()
            };
            // The newest first.
            let mut newest: BTreeMap<String, JobHeader> = BTreeMap::new();
            for header in catalog.list(&filter).await? {
                if header.lane.is_some() && header.state.is_final() {
                    newest.entry(subject(&header)).or_insert(header);
                }
            }
            for (subject, header) in newest {
                let job = header.job.id;
                if self.0.get(&subject) == Some(&job) {
                    continue;
                }
                // A story that cannot be understood says nothing.
                match catalog.load(job).await?.view() {
                    Ok(view) => act(catalog, zone, &subject, meaning(&header.job, &view)).await?,
                    Err(error) => tracing::warn!(%job, %error, "the job's story is none"),
                }
                self.0.insert(subject, job);
            }
        }
        Ok(())
    }
}

async fn act(
    catalog: &Catalog,
    zone: &TimeZone,
    subject: &str,
    meaning: Meaning,
) -> Result<(), CatalogError> {
    match meaning {
        Meaning::Well => alarm::quiet(catalog, zone, subject, None).await,
        Meaning::Wrong(problem) => alarm::warn(catalog, zone, subject, *problem).await,
        Meaning::Nothing => Ok(()),
    }
}

/// Whether an alert of that subject is of such a job.
pub(crate) fn is_of_vault(subject: &str) -> bool {
    let first = subject.split_once(' ').map(|(kind, _)| kind);
    KINDS
        .iter()
        .any(|kind| first == Some(&format!("{kind:?}").to_lowercase()))
}

/// What an alert of such a job is about: `verify main`, `copy main to away`.
fn subject(header: &JobHeader) -> String {
    let kind = format!("{:?}", header.job.kind).to_lowercase();
    format!("{kind} {}", header.job.subject)
}

fn meaning(job: &NewJob, view: &JobView) -> Meaning {
    match view.state {
        JobState::Completed | JobState::CompletedWithWarnings if leaves_doubt(job, view) => {
            Meaning::Nothing
        }
        JobState::Completed | JobState::CompletedWithWarnings => Meaning::Well,
        // Its process died: that says nothing of what it was about.
        JobState::Failed if view.unwinding == Some(UnwindReason::Crash) => Meaning::Nothing,
        JobState::Failed => {
            let cause = view.cause.clone().map(Box::new);
            cause.map_or(Meaning::Nothing, Meaning::Wrong)
        }
        JobState::Queued | JobState::InProgress | JobState::Cancelling | JobState::Cancelled => {
            Meaning::Nothing
        }
    }
}

/// Whether what was found wrong before may still be so: a verification of a part says nothing of the rest,
/// and what is known to be damaged is not read again.
fn leaves_doubt(job: &NewJob, view: &JobView) -> bool {
    if job.kind != JobKind::Verify {
        return false;
    }
    let outputs = view
        .sub_tasks
        .iter()
        .filter_map(|task| task.output.as_ref());
    let mut marked = outputs.filter_map(|output| output["marked"].as_u64());
    let what = VerifyOrder::of_params(&job.params).map(|order| order.what);
    match what {
        Ok(VerifyWhat::All) => false,
        Ok(VerifyWhat::SinceLast | VerifyWhat::Share { .. }) => marked.any(|marked| marked > 0),
        Ok(VerifyWhat::Vm { .. } | VerifyWhat::Point { .. }) | Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;
    use tresor_model::{PointId, SessionId, VmId};
    use tresor_problem::Kind;

    use super::*;

    fn ended(what: VerifyWhat, state: JobState, marked: u64) -> (NewJob, JobView) {
        let job = VerifyOrder::new("main", what).new_job(JobId::generate(), Timestamp::UNIX_EPOCH);
        let mut view = JobView::new(&job.sub_tasks);
        view.state = state;
        view.sub_tasks[0].output = Some(json!({ "marked": marked }));
        (job, view)
    }

    #[test]
    fn an_alert_ends_only_by_what_leaves_no_doubt() {
        let (vm, point) = (VmId::generate(), PointId::from(SessionId::generate()));
        let share = "3%".parse().unwrap();
        let cases = [
            (VerifyWhat::All, 0, Meaning::Well),
            (VerifyWhat::SinceLast, 0, Meaning::Well),
            (VerifyWhat::Share { share }, 0, Meaning::Well),
            (VerifyWhat::Share { share }, 1, Meaning::Nothing),
            (VerifyWhat::SinceLast, 2, Meaning::Nothing),
            (VerifyWhat::Vm { vm }, 0, Meaning::Nothing),
            (VerifyWhat::Point { point }, 0, Meaning::Nothing),
        ];
        for (what, marked, expected) in cases {
            let (job, view) = ended(what.clone(), JobState::Completed, marked);
            assert_eq!(meaning(&job, &view), expected, "{what:?}, {marked}");
        }
    }

    #[test]
    fn a_failure_is_wrong_unless_its_process_died() {
        let location = "/srv/vault".to_owned();
        let cause = Problem::from(Kind::VaultNotFound { location });
        let (job, mut view) = ended(VerifyWhat::All, JobState::Failed, 0);
        view.cause = Some(cause.clone());
        view.unwinding = Some(UnwindReason::Failure);
        assert_eq!(meaning(&job, &view), Meaning::Wrong(Box::new(cause)));
        view.unwinding = Some(UnwindReason::Crash);
        assert_eq!(meaning(&job, &view), Meaning::Nothing);
        view.state = JobState::Cancelled;
        assert_eq!(meaning(&job, &view), Meaning::Nothing);
    }
}
