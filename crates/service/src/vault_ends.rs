//! What the ends of jobs that look after vaults mean: an alert, or the end of one.

use std::collections::BTreeMap;

use tresor_catalog::Catalog;
use tresor_jobs::{JobFilter, JobHeader, JobLog as _, JobStory};
use tresor_model::{JobId, JobKind, JobState};
use tresor_problem::Problem;

use crate::{alarm, turn::TurnError};

/// The kinds whose failure nobody else would hear of.
const KINDS: [JobKind; 4] = [
    JobKind::Verify,
    JobKind::Expire,
    JobKind::Collect,
    JobKind::Copy,
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
    pub(crate) async fn take_in(&mut self, catalog: &Catalog) -> Result<(), TurnError> {
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
                match meaning(&catalog.load(job).await?) {
                    Meaning::Well => alarm::quiet(catalog, &subject).await,
                    Meaning::Wrong(problem) => alarm::raise(catalog, &subject, &problem).await,
                    Meaning::Nothing => {}
                }
                self.0.insert(subject, job);
            }
        }
        Ok(())
    }
}

/// What an alert of such a job is about: `verify main`, `copy main to away`.
fn subject(header: &JobHeader) -> String {
    let kind = format!("{:?}", header.job.kind).to_lowercase();
    format!("{kind} {}", header.job.subject)
}

fn meaning(story: &JobStory) -> Meaning {
    let Ok(view) = story.view() else {
        return Meaning::Nothing;
    };
    let output = view
        .sub_tasks
        .iter()
        .filter_map(|task| task.output.as_ref());
    let marked = output
        .filter_map(|output| output["marked"].as_u64())
        .sum::<u64>();
    match view.state {
        // What is known to be damaged was not read again: nothing was mended.
        _ if marked > 0 => Meaning::Nothing,
        JobState::Completed | JobState::CompletedWithWarnings => Meaning::Well,
        JobState::Failed => view
            .cause
            .filter(|cause| !cause.is("Interrupted"))
            .map_or(Meaning::Nothing, |cause| Meaning::Wrong(Box::new(cause))),
        JobState::Queued | JobState::InProgress | JobState::Cancelling | JobState::Cancelled => {
            Meaning::Nothing
        }
    }
}
