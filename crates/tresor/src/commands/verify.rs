//! `tresor verify`

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::json;
use tresor_backend::ObjectMeta;
use tresor_catalog::Catalog;
use tresor_host::{VaultPlace, absolute};
use tresor_jobs::{JobOutcome, NewJob};
use tresor_model::{JobId, JobKind};
use tresor_problem::{ExitClass, Problem};
use tresor_vault::{Choice, Learnt, PointList, Vault};
use tresor_workflows::{
    storage_problem,
    verify::{self, VerifyContext},
};

use super::{
    open, partial,
    session::{Session, print_problem},
};
use crate::{
    args::VerifyArgs,
    output::{bytes, note, note_around},
};

pub(super) async fn run(args: VerifyArgs, session: &Session) -> Result<(), Problem> {
    let catalog = session.catalog().await?;
    let place = open::find_vault(&catalog, args.access.vault.as_deref(), None).await?;
    let choice = args.sample.map(Choice::Share);
    if let Some(choice) = choice.or(args.since_last.then_some(Choice::SinceLast)) {
        return partial::run(session, &place, &args.access.key, choice).await;
    }
    let vault = open::open_vault(&place, &args.access).await?;
    let whole = Whole::before(&place).await?;
    let (points, is_all) = match &args.point {
        Some(selector) => (
            vec![open::point(&catalog, &vault, selector).await?.id],
            false,
        ),
        None => {
            let list = open::list(&vault).await?;
            let is_all = is_all(&list);
            (list.points.iter().map(|point| point.id).collect(), is_all)
        }
    };
    let make = |job: JobId| {
        let plan = verify::plan(job, &points, vault.location());
        (plan, VerifyContext::new(vault.clone(), points.clone()))
    };
    let runner = session.runner(&catalog);
    let again = |job: &NewJob| Ok(make(job.id));
    runner.recover(JobKind::Verify, None, again).await?;
    let (plan, mut ctx) = make(JobId::generate());
    let cache = absolute(&session.state()?.index_cache());
    if let Err(error) = vault.watch_verified(&cache).await {
        tracing::warn!(%error, "the next backup looks again at what is verified now");
    }
    let verified = runner.run(plan, &mut ctx).await;
    let newly_known = vault.keep_verified();
    for error in &ctx.keys {
        note(&format!("keys: {error}"));
    }
    for (point, report) in &ctx.reports {
        for damage in &report.damaged {
            note(&format!(
                "recovery point {point}: chunk {} of {} at byte {}: {} ({})",
                damage.chunk, damage.stream, damage.offset, damage.object, damage.reason
            ));
        }
    }
    mark(&vault, &ctx).await;
    if args.point.is_none() && was_read(&verified) {
        whole.note(&catalog, &vault, &ctx, is_all).await?;
    }
    let around = vault.read_around();
    note_around(&around);
    verified?;
    let read: u64 = ctx.reports.iter().map(|(_, report)| report.bytes).sum();
    let result = json!({
        "points": points, "bytes": read, "read_around": around, "newly_known": newly_known,
    });
    session
        .output
        .result("verify", &result, || {
            format!(
                "{} recovery points verified: {} read, {}",
                points.len(),
                bytes(read),
                match around.len() {
                    0 => "no damage".to_owned(),
                    many => format!("nothing lost; {many} damaged objects are superseded"),
                }
            )
        })
        .map_err(print_problem)
}

/// Whether the list is of all that is in the vault, so that what no point in it refers to is needed
/// by nobody.
fn is_all(list: &PointList) -> bool {
    list.deleted.is_empty() && list.unreadable.is_empty() && list.elsewhere == 0
}

/// Whether the job came to its end: all points were read, whatever was found.
fn was_read(verified: &Result<JobOutcome, Problem>) -> bool {
    match verified {
        Ok(_) => true,
        Err(problem) => problem.exit == ExitClass::Damage,
    }
}

/// The objects that are there when a verification of the whole vault begins.
struct Whole(Vec<ObjectMeta>);

impl Whole {
    async fn before(place: &VaultPlace) -> Result<Self, Problem> {
        let backend = place.location.open(None).await?;
        let listed = backend.list("").await;
        let failed = |error| storage_problem(&error, &place.location.to_string());
        listed.map(Self).map_err(failed)
    }

    /// Partial verifications go on behind this one. Of all points every pack was read in which there
    /// is anything.
    async fn note(
        &self,
        catalog: &Catalog,
        vault: &Vault,
        ctx: &VerifyContext,
        is_all: bool,
    ) -> Result<(), Problem> {
        let history = partial::history(catalog, vault.id()).await?;
        let mut learnt = Learnt::from_list(&self.0, &history);
        if is_all {
            let around = vault.read_around();
            let reports = ctx.reports.iter().map(|(_, report)| report);
            let damaged: BTreeSet<&str> = reports
                .flat_map(|report| &report.damaged_objects)
                .chain(around.iter().map(|around| &around.object))
                .map(String::as_str)
                .collect();
            let names = self.0.iter().map(|meta| meta.name.as_str());
            let packs = names.filter(|name| name.starts_with("packs/"));
            let right = packs.filter(|name| !damaged.contains(name));
            learnt.verified = right.map(str::to_owned).collect();
        }
        partial::note_learnt(catalog, vault.id(), Timestamp::now(), &learnt).await;
        Ok(())
    }
}

/// Leaves word of what is damaged, so that the next backup stores it again. A vault that cannot be
/// written to now is told by the next verification.
async fn mark(vault: &Vault, ctx: &VerifyContext) {
    let reports = ctx.reports.iter().map(|(_, report)| report);
    let lost = reports.flat_map(|report| &report.damaged_objects);
    let around = vault.read_around();
    let objects = lost.chain(around.iter().map(|around| &around.object));
    if let Err(error) = vault.mark_damaged(objects.map(String::as_str)).await {
        note(&format!(
            "warning: what is damaged could not be marked in the vault: {error}"
        ));
    }
}
