//! Verifications that were queued for whoever has the vault's key.

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tresor_catalog::Catalog;
use tresor_jobs::NewJob;
use tresor_problem::Problem;
use tresor_vault::Choice;
use tresor_workflows::{
    partial::{self, PartialContext},
    vault_problem,
    verify::{self, VerifyContext, VerifyOrder, VerifyWhat},
};

use crate::{
    keys::KeyChoice,
    place::{Manner, VaultPlace, open_vault_at},
    role::{Begun, HostRole},
    state::absolute,
    storage::Storage,
    verified::{WholeVault, history, mark_part, mark_points, note_learnt},
};

/// Begins a verification and carries it to its end. What it has seen is kept, however it ends.
pub(crate) async fn run(
    role: &HostRole,
    job: &NewJob,
    cancel: &CancellationToken,
) -> Result<Begun, Problem> {
    let order = VerifyOrder::of_params(&job.params)?;
    let catalog = role.catalog(job.kind)?;
    let entry = catalog.vault(&order.vault).await;
    let place = VaultPlace::of(&entry.map_err(|error| Problem::from(&error))?)?;
    let run = Run {
        role,
        catalog,
        place,
        job,
        order,
        cancel,
    };
    match run.order.what.choice() {
        Some(choice) => run.part(choice).await,
        None => run.points().await,
    }
}

struct Run<'a> {
    role: &'a HostRole,
    catalog: &'a Catalog,
    place: VaultPlace,
    job: &'a NewJob,
    order: VerifyOrder,
    cancel: &'a CancellationToken,
}

impl Run<'_> {
    async fn points(&self) -> Result<Begun, Problem> {
        // No copies of what is in it: it is damage that is looked for.
        let vault = open_vault_at(&self.place, &KeyChoice::default(), Manner::default()).await?;
        let list = vault.points().await;
        let list = list.map_err(|error| vault_problem(&error, vault.location()))?;
        let whole = match self.order.what {
            VerifyWhat::All => Some(WholeVault::before(&self.place, &list).await?),
            _ => None,
        };
        let points = self.order.what.points(&list)?;
        let cache = absolute(&self.role.state.index_cache());
        if let Err(error) = vault.watch_verified(&cache).await {
            tracing::warn!(%error, "the next backup looks again at what is verified now");
        }
        let plan = verify::plan(self.job.id, &self.order);
        let mut ctx = VerifyContext::new(vault.clone(), points);
        let done = self.role.take_up(plan, &mut ctx, self.cancel).await;
        vault.keep_verified();
        self.tell(mark_points(&vault, &ctx).await);
        if let Some(whole) = whole {
            self.tell(whole.note(self.catalog, &vault, &ctx).await);
        }
        done
    }

    async fn part(&self, choice: Choice) -> Result<Begun, Problem> {
        let storage = Storage::open(&self.place, &KeyChoice::default()).await?;
        let location = self.place.location.to_string();
        if let Some(error) = &storage.unopened {
            return Err(vault_problem(error, &location));
        }
        let history = history(self.catalog, storage.id).await?;
        let (backend, vault) = (storage.backend.clone(), storage.vault.clone());
        let plan = partial::plan(self.job.id, &self.order);
        let mut ctx = PartialContext::new(backend, vault, choice, history);
        let done = self.role.take_up(plan, &mut ctx, self.cancel).await;
        let (now, learnt) = (Timestamp::now(), ctx.learnt());
        self.tell(note_learnt(self.catalog, storage.id, now, &learnt).await);
        self.tell(mark_part(&storage, &ctx).await);
        done
    }

    /// What was seen is in the job's story; what cannot be kept of it is seen again by the next one.
    fn tell(&self, kept: Result<(), Problem>) {
        if let Err(problem) = kept {
            let job = self.job.id;
            tracing::warn!(%job, %problem, "what was verified could not be noted");
        }
    }
}
