//! What every command has at hand.

use std::{ffi::OsString, io, path::Path, sync::Arc};

use tokio_util::sync::CancellationToken;
use tresor_api_client::Client;
use tresor_catalog::{Catalog, VmRecord};
use tresor_host::{StateDir, here, usage};
use tresor_jobs::{Engine, JobFilter, JobHeader, JobOutcome, JobPlan, JobView, NewJob, Warning};
use tresor_model::{HostId, JobId, JobKind, JobState};
use tresor_policy::Policy;
use tresor_problem::{Kind, Problem};

use crate::{
    args::{Global, ServerArgs},
    database,
    enrolment::Enrolments,
    output::{Output, note},
    progress::Progress,
    remote::{Needs, Source, near},
    signals::Signals,
};

/// One run of the program.
pub(crate) struct Session {
    global: Global,
    /// Prints results.
    pub(crate) output: Output,
    signals: Signals,
}

impl Session {
    pub(crate) fn new(global: Global, output: Output, signals: Signals) -> Self {
        Self {
            global,
            output,
            signals,
        }
    }

    /// What was said of a service elsewhere.
    pub(crate) fn service(&self) -> &ServerArgs {
        &self.global.service
    }

    fn source(&self) -> Result<Source, Problem> {
        let database = &self.global.database;
        let here = self.global.state_dir.is_some()
            || database.database.is_some()
            || database.database_file.is_some();
        Source::of(&self.global.service, here)
    }

    /// Whether commands are for a service elsewhere.
    pub(crate) fn is_remote(&self) -> Result<bool, Problem> {
        Ok(matches!(self.source()?, Source::Server(_)))
    }

    /// Refuses a command that a service elsewhere cannot do.
    pub(crate) fn check(&self, needs: Needs) -> Result<(), Problem> {
        if needs != Needs::Machine {
            return Ok(());
        }
        match self.source()? {
            Source::Here => Ok(()),
            Source::Server(reach) if reach.by_login => Err(usage(&format!(
                "This command works on a machine's own VMs, vaults and keys, and you are logged in to {}: run \
                 it on that machine, or name this one's state with --state-dir, or `tresor logout`.",
                reach.address
            ))),
            Source::Server(reach) => Err(usage(&format!(
                "This command works on a machine's own VMs, vaults and keys, and {} was named: run it on \
                 that machine, without --server and TRESOR_SERVER.",
                reach.address
            ))),
        }
    }

    /// A client of what commands work on: a service elsewhere, or this machine's catalog.
    pub(crate) async fn client(&self) -> Result<Client, Problem> {
        match self.source()? {
            Source::Server(reach) => reach.client(),
            Source::Here => {
                let catalog = self.catalog().await?;
                // The ready-made policies are there before the first service is.
                tresor_service::make_ready(&catalog, &Policy::ready_made()).await?;
                let enrolments = Enrolments::in_state(&catalog, self.state()?.path())?;
                Ok(near(catalog, enrolments))
            }
        }
    }

    /// Progress, as it was asked for.
    pub(crate) fn progress(&self) -> Progress {
        Progress::new(self.global.progress, self.output.is_json())
    }

    pub(crate) fn state(&self) -> Result<StateDir, Problem> {
        StateDir::choose(self.global.state_dir.as_deref())
    }

    /// Another state directory than all commands', if one was asked for.
    pub(crate) fn state_at(&self, asked: Option<&Path>) -> Result<StateDir, Problem> {
        StateDir::choose(asked.or(self.global.state_dir.as_deref()))
    }

    pub(crate) async fn catalog(&self) -> Result<Arc<Catalog>, Problem> {
        self.catalog_in(&self.state()?).await
    }

    /// The catalog that goes with a state directory.
    pub(crate) async fn catalog_in(&self, state: &StateDir) -> Result<Arc<Catalog>, Problem> {
        Ok(Arc::new(
            database::open(&self.global.database, state).await?,
        ))
    }

    /// Which of several machines on this catalog this one is.
    pub(crate) async fn here(&self, catalog: &Catalog) -> Result<Option<HostId>, Problem> {
        here(&self.state()?, catalog).await
    }

    /// Refuses what is done next to a VM's disks when they are on another machine.
    pub(crate) async fn expect_here(
        &self,
        catalog: &Catalog,
        vm: &VmRecord,
    ) -> Result<(), Problem> {
        let there = match vm.host {
            host if host == self.here(catalog).await? => return Ok(()),
            None => "that keeps its catalog to itself".to_owned(),
            Some(host) => match catalog.host(host).await {
                Ok(known) => known.name,
                Err(_) => host.to_string(),
            },
        };
        let vm = vm.name.clone();
        Err(Kind::VmElsewhere { vm, host: there }.into())
    }

    /// Whether stderr is to say nothing of progress.
    pub(crate) fn is_quiet(&self) -> bool {
        use crate::args::ProgressStyle;
        match self.global.progress {
            ProgressStyle::None => true,
            ProgressStyle::Auto => self.output.is_json(),
            ProgressStyle::Lines => false,
        }
    }

    /// When somebody wants the command to stop.
    pub(crate) async fn cancelled(&self) {
        self.signals.end().cancelled().await;
    }

    /// Lets work go on when somebody wants the command to stop; gives what is cancelled when they ask once more.
    pub(crate) fn be_patient(&self) -> CancellationToken {
        self.signals.be_patient()
    }

    /// The configuration file that was asked for.
    pub(crate) fn config(&self) -> Option<&OsString> {
        self.global.config.as_ref()
    }

    /// A runner for jobs that are recorded in this catalog.
    pub(crate) fn runner(&self, catalog: &Arc<Catalog>) -> Runner<'_> {
        let progress = Arc::new(Progress::new(self.global.progress, self.output.is_json()));
        Runner {
            engine: Engine::new(catalog.clone()),
            progress,
            cancel: self.signals.end(),
        }
    }
}

/// Runs jobs with progress, and turns their ends into results.
pub(crate) struct Runner<'a> {
    engine: Engine,
    progress: Arc<Progress>,
    cancel: &'a CancellationToken,
}

impl Runner<'_> {
    /// Runs a job to its end; gives how it ended when it completed.
    pub(crate) async fn run<C: Send>(
        &self,
        plan: JobPlan<C>,
        context: &mut C,
    ) -> Result<JobOutcome, Problem> {
        let job = plan.id;
        let outcome = self
            .engine
            .run(plan, context, self.cancel, self.progress.clone())
            .await;
        self.progress.finish();
        let outcome = outcome.map_err(|error| Problem::from(&error))?;
        for text in troubles(&outcome.view) {
            note(&text);
        }
        match outcome.state() {
            JobState::Cancelled => Err(Kind::Interrupted {
                what: format!("Job {job}"),
            }
            .into()),
            JobState::Completed | JobState::CompletedWithWarnings => Ok(outcome),
            _ => Err(failure(job, &outcome)),
        }
    }

    async fn abandoned(&self) -> Result<Vec<JobHeader>, Problem> {
        let abandoned = self.engine.abandoned().await;
        abandoned.map_err(|error| Problem::from(&error))
    }

    /// Refuses when a job of a process that lives has this lock. Only for a better message: who
    /// comes at the same moment is refused when its own job is recorded.
    pub(crate) async fn refuse_busy(&self, lock: &str) -> Result<(), Problem> {
        let unfinished = JobFilter {
            unfinished: true,
            ..JobFilter::default()
        };
        let jobs = self.engine.log().list(&unfinished).await;
        let jobs = jobs.map_err(|error| Problem::from(&error))?;
        let abandoned = self.abandoned().await?;
        // One that waits holds no key.
        let alive = |header: &JobHeader| {
            let owner = header.owner.as_ref()?;
            let held = header.job.lock.as_deref() == Some(lock)
                && !abandoned.iter().any(|dead| dead.job.id == header.job.id);
            held.then(|| (header.job.clone(), owner.pid))
        };
        match jobs.iter().find_map(alive) {
            None => Ok(()),
            Some((job, pid)) => Err(Kind::VmBusy {
                vm: job.subject,
                job: job.id.to_string(),
                holder: format!("process {pid}"),
            }
            .into()),
        }
    }

    /// Ends the jobs of this kind and lock that dead processes left: there is nothing to take back of them.
    pub(crate) async fn end_abandoned(
        &self,
        kind: JobKind,
        lock: Option<&str>,
    ) -> Result<(), Problem> {
        let make = |job: &NewJob| Ok((JobPlan::nothing_to_take_back(job), ()));
        self.recover(kind, lock, make).await
    }

    /// Brings the jobs of this kind and lock that dead processes left to their end, each with a
    /// plan and a context made anew.
    pub(crate) async fn recover<C: Send>(
        &self,
        kind: JobKind,
        lock: Option<&str>,
        make: impl Fn(&NewJob) -> Result<(JobPlan<C>, C), Problem>,
    ) -> Result<(), Problem> {
        for header in self.abandoned().await? {
            if header.job.kind != kind || header.job.lock.as_deref() != lock {
                continue;
            }
            let job = header.job.id;
            note(&format!(
                "job {job} was left behind by a process that died: ending it first"
            ));
            let (plan, mut context) = make(&header.job)?;
            let recovered = self
                .engine
                .recover(
                    plan,
                    &mut context,
                    &CancellationToken::new(),
                    self.progress.clone(),
                )
                .await;
            self.progress.finish();
            let outcome = recovered.map_err(|error| Problem::from(&error))?;
            note(&format!("job {job}: {}", state_name(outcome.state())));
        }
        Ok(())
    }
}

fn failure(job: JobId, outcome: &JobOutcome) -> Problem {
    outcome.cause().cloned().unwrap_or_else(|| {
        Kind::Internal {
            what: format!("Job {job} failed without a cause."),
        }
        .into()
    })
}

/// What a job that has ended leaves to be told beside its result or its first cause: warnings when it
/// completed, a cleaning up that failed, an undo that failed.
fn troubles(view: &JobView) -> Vec<String> {
    let completed = view.unwinding.is_none();
    let warnings = view.warnings.iter().filter(|_| completed);
    let warnings = warnings.map(|warning| warning_text(&warning.warning));
    let failed = view.sub_tasks.iter().flat_map(|task| {
        let told = |what: &str, problem: &Problem| {
            let text = format!("warning: \"{}\" {what}: {problem}", task.name);
            with_remedies(text, problem)
        };
        let problem = task.problem.as_ref().filter(|_| completed);
        let undo = task.undo_problem.as_ref();
        let problem = problem.map(|problem| told("failed", problem));
        let undo = undo.map(|problem| told("could not be undone", problem));
        problem.into_iter().chain(undo)
    });
    warnings.chain(failed).collect()
}

/// A warning as people read it: a problem with what to do about it.
pub(crate) fn warning_text(warning: &Warning) -> String {
    let text = format!("warning: {warning}");
    match warning {
        Warning::Problem(problem) => with_remedies(text, problem),
        Warning::Text(_) => text,
    }
}

pub(crate) fn with_remedies(mut text: String, problem: &Problem) -> String {
    for remedy in &problem.remedy {
        text.push_str(&format!("\n  - {remedy}"));
    }
    text
}

/// A job's state as people read it.
pub(crate) fn state_name(state: JobState) -> &'static str {
    match state {
        JobState::Queued => "queued",
        JobState::InProgress => "in progress",
        JobState::Completed => "completed",
        JobState::CompletedWithWarnings => "completed with warnings",
        JobState::Failed => "failed",
        JobState::Cancelling => "cancelling",
        JobState::Cancelled => "cancelled",
    }
}

/// Printing failed: nobody reads stdout any more.
#[allow(clippy::needless_pass_by_value, reason = "fits map_err")]
pub(crate) fn print_problem(error: io::Error) -> Problem {
    Problem::caused_by(
        Kind::Interrupted {
            what: "Printing the result".to_owned(),
        },
        &error,
    )
}

#[cfg(test)]
mod tests {
    use tresor_jobs::{SubTaskSpec, UnwindReason};

    use super::*;

    #[test]
    fn what_failed_behind_the_commit_and_in_an_undo_is_told() {
        let spec = SubTaskSpec {
            name: "Release snapshot".to_owned(),
            limit_ms: None,
            commits: false,
        };
        let problem = |what: &str| -> Problem {
            Kind::Internal {
                what: what.to_owned(),
            }
            .into()
        };
        let mut view = JobView::new(&[spec]);
        assert!(troubles(&view).is_empty());
        view.sub_tasks[0].problem = Some(problem("left a filter"));
        let told = troubles(&view);
        assert!(
            told.len() == 1 && told[0].contains("Release snapshot"),
            "{told:?}"
        );
        assert!(told[0].contains("left a filter"), "{told:?}");
        // Then it is the first cause, which the command ends with.
        view.unwinding = Some(UnwindReason::Failure);
        assert!(troubles(&view).is_empty());
        view.sub_tasks[0].undo_problem = Some(problem("perhaps frozen"));
        let told = troubles(&view);
        assert!(
            told.len() == 1 && told[0].contains("perhaps frozen"),
            "{told:?}"
        );
    }
}
