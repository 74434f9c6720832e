//! One turn as the scheduler: from getting the lease to losing it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use tresor_catalog::{Catalog, CatalogError, ItemFilter, ItemRecord, ItemState};
use tresor_jobs::{JobFilter, JobHeader, JobLog as _, JobQueue as _, LogError, Ticket};
use tresor_model::{JobId, JobKind, VmId};
use tresor_schedule::StartReason;
use tresor_workflows::backup::{self, BackupCause, BackupOrder};

use crate::{
    LOCAL_LANE, ServiceOptions, alarm,
    ended::{self, End},
    fleet::{Effect, Fleet, Start},
    keeping::look_after_vaults,
    order,
    vault_ends::VaultEnds,
    whereabouts::follow,
};

/// What can end a turn as the scheduler. The next one begins anew.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TurnError {
    #[error("the catalog failed")]
    Catalog(#[from] CatalogError),
    #[error("the job log failed")]
    Log(#[from] LogError),
}

impl TurnError {
    /// What was to be worked on is not there any more; nothing is wrong with the catalog.
    fn is_gone(&self) -> bool {
        use tresor_catalog::CatalogErrorKind as Kind;
        match self {
            Self::Catalog(error) => {
                matches!(error.kind, Kind::NotFound(_) | Kind::Conflict(_))
            }
            Self::Log(_) => false,
        }
    }
}

/// What one holder of the lease knows.
pub(crate) struct Turn<'a> {
    catalog: &'a Catalog,
    zone: TimeZone,
    fleet: Fleet,
    vault_ends: VaultEnds,
}

impl<'a> Turn<'a> {
    /// Reads what is there: items, policies, jobs that wait or run, and ends that nobody has taken in.
    pub(crate) async fn begin(
        catalog: &'a Catalog,
        options: &ServiceOptions,
    ) -> Result<Self, TurnError> {
        let mut turn = Self {
            catalog,
            zone: options.zone.clone(),
            fleet: Fleet::new(options.limits, options.zone.clone()),
            vault_ends: VaultEnds::default(),
        };
        let unfinished = turn.unfinished().await?;
        turn.load().await?;
        let now = Timestamp::now();
        let mut last = BTreeMap::new();
        for (vm, header) in unfinished {
            last.insert(vm, header.job.id);
            turn.fleet
                .adopt(vm, header.job.id, header.job.created_at, now);
        }
        turn.take_in_ends(&last).await?;
        Ok(turn)
    }

    /// Scheduled backups that have not ended.
    async fn unfinished(&self) -> Result<Vec<(VmId, JobHeader)>, TurnError> {
        let filter = JobFilter {
            kind: Some(JobKind::Backup),
            unfinished: true,
            ..JobFilter::default()
        };
        let jobs = self.catalog.list(&filter).await?;
        let scheduled = |header: JobHeader| {
            let order = BackupOrder::of_params(&header.job.params).ok()?;
            (order.cause != BackupCause::Asked).then_some((order.vm, header))
        };
        Ok(jobs.into_iter().filter_map(scheduled).collect())
    }

    /// Jobs that ended while nobody looked: of items whose window is open and that have no job now.
    async fn take_in_ends(&mut self, running: &BTreeMap<VmId, JobId>) -> Result<(), TurnError> {
        for (vm, name) in self.fleet.with_open_window() {
            if running.contains_key(&vm) {
                continue;
            }
            let filter = JobFilter {
                subject: Some(name),
                kind: Some(JobKind::Backup),
                limit: Some(5),
                ..JobFilter::default()
            };
            let jobs = self.catalog.list(&filter).await?;
            let last = jobs.iter().find(|header| is_of(header, vm));
            if let Some(header) = last
                && self.fleet.is_news(vm, header.job.created_at)
            {
                self.look_at(vm, header.job.id).await?;
            }
        }
        Ok(())
    }

    /// What is protected now.
    pub(crate) async fn load(&mut self) -> Result<(), TurnError> {
        let policies = self.catalog.all_policies().await?;
        let protected = ItemFilter {
            state: Some(ItemState::Protected),
            ..ItemFilter::default()
        };
        let items = self.catalog.all_items(&protected).await?;
        let effects = self.fleet.update(policies, items, Timestamp::now());
        self.carry_out(effects).await
    }

    /// What retention asks for, what can be freed, what is to be read back, and what came of it.
    pub(crate) async fn look_after_vaults(
        &mut self,
        options: &ServiceOptions,
    ) -> Result<(), TurnError> {
        look_after_vaults(self.catalog, options).await?;
        self.vault_ends.take_in(self.catalog, &self.zone).await
    }

    /// Where the protected VMs are.
    pub(crate) async fn look_for_vms(&self) -> Result<(), TurnError> {
        let protected = ItemFilter {
            state: Some(ItemState::Protected),
            ..ItemFilter::default()
        };
        let items = self.catalog.all_items(&protected).await?;
        follow(self.catalog, &self.zone, &items).await
    }

    /// What is late has an alert.
    pub(crate) async fn note_late(&self) -> Result<(), TurnError> {
        let late = self.fleet.late(Timestamp::now());
        Ok(alarm::note_late(self.catalog, &self.zone, &late).await?)
    }

    /// What somebody should look at, by name.
    pub(crate) async fn at_risk(&self) -> Result<Vec<String>, TurnError> {
        let open = alarm::open(self.catalog).await?;
        let late = self.fleet.late(Timestamp::now());
        let late = late.into_iter().map(|(name, _)| name);
        let names = open.into_iter().map(|alert| alert.subject).chain(late);
        Ok(names.collect::<BTreeSet<_>>().into_iter().collect())
    }

    /// Starts what is due. When there is more to do.
    pub(crate) async fn tick(&mut self) -> Result<Option<Timestamp>, TurnError> {
        let (effects, wake) = self.fleet.tick(Timestamp::now());
        self.carry_out(effects).await?;
        Ok(wake)
    }

    /// Which of the jobs that were started have ended.
    pub(crate) async fn look_at_jobs(&mut self) -> Result<(), TurnError> {
        let followed: Vec<_> = self.fleet.jobs().collect();
        if followed.is_empty() {
            return Ok(());
        }
        let unfinished = self.unfinished().await?;
        let unfinished: BTreeMap<_, _> = unfinished
            .into_iter()
            .map(|(vm, header)| (header.job.id, vm))
            .collect();
        for (vm, job) in followed {
            if !unfinished.contains_key(&job) {
                self.look_at(vm, job).await?;
            }
        }
        Ok(())
    }

    /// A job that is no longer among those that wait or run.
    async fn look_at(&mut self, vm: VmId, job: JobId) -> Result<(), TurnError> {
        let Some((attempt, outlook)) = self.fleet.attempt(vm) else {
            return Ok(());
        };
        let story = self.catalog.load(job).await?;
        let now = Timestamp::now();
        let Some(end) = ended::judge(&story, attempt, &outlook.policy.retry, now) else {
            return Ok(());
        };
        let name = &story.header.job.subject;
        match &end {
            End::Point(_) => alarm::quiet(self.catalog, &self.zone, name, None).await?,
            End::Cancelled => {}
            End::Stopped { .. } => tracing::info!(vm = name, %job, "the backup is made up for"),
            End::Failed { cause, retry_at } => {
                tracing::warn!(vm = name, %job, %cause, ?retry_at, "the backup failed");
                if retry_at.is_none() {
                    // Before the end is noted: cut off here, it is looked at again.
                    alarm::raise(self.catalog, &self.zone, name, cause).await?;
                }
            }
        }
        let effects = self.fleet.ended(vm, &end, now);
        self.carry_out(effects).await
    }

    async fn carry_out(&mut self, effects: Vec<Effect>) -> Result<(), TurnError> {
        for effect in effects {
            match effect {
                Effect::Place { vm, slot_s } => self.catalog.set_slot(vm, Some(slot_s)).await?,
                Effect::Ended { vm, end } => self.catalog.note_finished(vm, end).await?,
                Effect::Missed { vm, text } => {
                    tracing::warn!(%vm, text, "a start window was missed");
                }
                Effect::Start(start) => self.start(*start).await?,
            }
        }
        Ok(())
    }

    /// Records the job, and then that it was started.
    async fn start(&mut self, start: Start) -> Result<(), TurnError> {
        let vm = start.item.vm;
        let now = Timestamp::now();
        let job = JobId::generate();
        match self.enqueue(&start, job, now).await {
            Ok(()) => {}
            Err(error) if error.is_gone() => {
                // Its protection was stopped, or it was removed, since it was read.
                tracing::info!(vm = %start.item.vm_name, %error, "nothing was started");
                let later = now.saturating_add(SignedDuration::from_secs(60));
                let later = later.unwrap_or(Timestamp::MAX);
                self.fleet.not_started(vm, later, now);
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        tracing::info!(vm = %start.item.vm_name, %job, why = %start.why, "a backup was queued");
        self.fleet
            .started(vm, job, start.window, start.attempt, now);
        Ok(())
    }

    async fn enqueue(&self, start: &Start, job: JobId, now: Timestamp) -> Result<(), TurnError> {
        let (window, attempt) = (start.window, start.attempt);
        let cause = match start.why {
            StartReason::Window | StartReason::Retry => BackupCause::Scheduled { window, attempt },
            StartReason::CatchUp => BackupCause::CaughtUp { window, attempt },
        };
        let vm = self.catalog.vm(&start.item.vm_name).await?;
        let order = order(&vm, &start.outlook.policy, cause);
        let ticket = Ticket {
            lane: lane_of(&start.item),
            not_before: now,
            rank: 0,
        };
        let plan = backup::plan(job, &order);
        self.catalog.enqueue(&plan.new_job(now), &ticket).await?;
        let noted = self.catalog.note_started(start.item.vm, window, now).await;
        if noted.is_err() {
            // Stopped since it was read: whoever takes the job up only ends it.
            self.catalog.request_cancel(job).await?;
        }
        Ok(noted?)
    }
}

/// Where an item's jobs wait.
#[must_use]
pub fn lane_of(item: &ItemRecord) -> String {
    let host = item.host.map(|host| host.to_string());
    host.unwrap_or_else(|| LOCAL_LANE.to_owned())
}

/// Whether it is a scheduled backup of this VM.
fn is_of(header: &JobHeader, vm: VmId) -> bool {
    let order = BackupOrder::of_params(&header.job.params);
    order.is_ok_and(|order| order.vm == vm && order.cause != BackupCause::Asked)
}
