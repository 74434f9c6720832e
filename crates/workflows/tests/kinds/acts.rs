//! The kinds.

use std::{collections::BTreeSet, fs, sync::Arc};

use async_trait::async_trait;
use futures::{FutureExt as _, future::BoxFuture};
use jiff::Timestamp;
use tresor_catalog::Catalog;
use tresor_jobs::{JobPlan, NewJob, testing::PlanFixture};
use tresor_model::{JobId, StreamName};
use tresor_vault::{Choice, Copies, History, StreamReader};
use tresor_workflows::{
    check::{self, CheckContext},
    collect::{self, CollectContext},
    copy::{self, CopyContext, CopyOrder},
    database::{self, Backups, DatabaseContext, Services},
    expire::{self, ExpireContext, Request},
    partial::{self, PartialContext},
    repair::{self, RepairContext},
    restore::{self, RestoreContext, RestoreFormat, RestoreOrder},
    verify::{self, VerifyContext, VerifyOrder, VerifyWhat},
};

use crate::world::{Act, World, noise, whole};

/// The job of a kind, as it is recorded.
pub(crate) async fn recorded(fixture: &impl PlanFixture) -> NewJob {
    fixture.reset().await;
    let plan = fixture.plan(JobId::generate()).await;
    plan.new_job(Timestamp::now())
}

/// Nothing in the vault is changed, and no image is there by its own name that is not whole.
pub(crate) struct RestoreOne;

impl RestoreOne {
    fn order(world: &World) -> RestoreOrder {
        let to = world.dir.path().join("restored");
        RestoreOrder {
            format: Some(RestoreFormat::Raw),
            // What an earlier run has made is no obstacle to the next.
            overwrite: true,
            ..RestoreOrder::new("main", (world.points[1].id, "web01"), to)
        }
    }
}

#[async_trait]
impl Act for RestoreOne {
    type Context = RestoreContext;

    fn plan(&self, world: &World, job: JobId) -> JobPlan<RestoreContext> {
        restore::plan(job, &Self::order(world))
    }
    async fn context(&self, world: &World, _: JobId) -> RestoreContext {
        let (vault, point) = (world.vault.clone(), world.points[1].clone());
        RestoreContext::new(vault, point, Self::order(world))
    }
    async fn probe(&self, world: &World) -> String {
        let image = Self::order(world).to.join("vda.raw");
        let whole = fs::read(image).is_ok_and(|image| image == noise(2));
        let torn = fs::exists(Self::order(world).to.join("vda.raw")).unwrap() && !whole;
        format!("torn: {torn}, unchanged: {}", world.unchanged().await)
    }
}

/// Nothing is changed.
pub(crate) struct VerifyAll;

#[async_trait]
impl Act for VerifyAll {
    type Context = VerifyContext;

    fn plan(&self, _: &World, job: JobId) -> JobPlan<VerifyContext> {
        verify::plan(job, &VerifyOrder::new("main", VerifyWhat::All))
    }
    async fn context(&self, world: &World, _: JobId) -> VerifyContext {
        let list = world.vault.points().await.unwrap();
        let points = VerifyWhat::All.points(&list).unwrap();
        assert_eq!(points.len(), 2);
        VerifyContext::new(world.vault.clone(), points)
    }
    async fn probe(&self, world: &World) -> String {
        format!("unchanged: {}", world.unchanged().await)
    }
}

/// Nothing is changed.
pub(crate) struct VerifyPart;

#[async_trait]
impl Act for VerifyPart {
    type Context = PartialContext;

    fn plan(&self, _: &World, job: JobId) -> JobPlan<PartialContext> {
        partial::plan(job, &VerifyOrder::new("main", VerifyWhat::SinceLast))
    }
    async fn context(&self, world: &World, _: JobId) -> PartialContext {
        let vault = Some(world.vault.clone());
        let (choice, history) = (Choice::SinceLast, History::default());
        PartialContext::new(Arc::clone(&world.backend), vault, choice, history)
    }
    async fn probe(&self, world: &World) -> String {
        format!("unchanged: {}", world.unchanged().await)
    }
}

/// Nothing in the vault that is read is changed, and what the other one lists is whole.
pub(crate) struct CopyAll;

impl CopyAll {
    fn order(world: &World) -> CopyOrder {
        let (from, to) = (world.vault.id(), world.other.id());
        CopyOrder::new(("main", from), ("away", to))
    }
}

#[async_trait]
impl Act for CopyAll {
    type Context = CopyContext;

    fn plan(&self, world: &World, job: JobId) -> JobPlan<CopyContext> {
        copy::plan(job, &Self::order(world))
    }
    async fn context(&self, world: &World, _: JobId) -> CopyContext {
        let (source, target) = (world.vault.clone(), world.other.clone());
        let request = Self::order(world).request(&source, &target, None).await;
        CopyContext::new(source, target, request.unwrap())
    }
    async fn probe(&self, world: &World) -> String {
        let whole = whole(&world.other).await;
        format!("whole: {whole}, unchanged: {}", world.unchanged().await)
    }
}

/// The points are whole.
pub(crate) struct RepairAll;

struct NoCopies;

impl Copies for NoCopies {
    fn stream<'a>(&'a self, _: &'a StreamName) -> BoxFuture<'a, Option<(StreamReader, String)>> {
        async { None }.boxed()
    }
}

#[async_trait]
impl Act for RepairAll {
    type Context = RepairContext;

    fn plan(&self, world: &World, job: JobId) -> JobPlan<RepairContext> {
        repair::plan(job, &world.vault, false)
    }
    async fn context(&self, world: &World, _: JobId) -> RepairContext {
        RepairContext::new(world.vault.clone(), Box::new(|_| Arc::new(NoCopies)))
    }
    async fn probe(&self, world: &World) -> String {
        format!("whole: {}", whole(&world.vault).await)
    }
}

/// Nothing is changed.
pub(crate) struct CheckAll;

#[async_trait]
impl Act for CheckAll {
    type Context = CheckContext;

    fn plan(&self, _: &World, job: JobId) -> JobPlan<CheckContext> {
        check::plan(job, "memory", true)
    }
    async fn context(&self, world: &World, _: JobId) -> CheckContext {
        let vault = Some(world.vault.clone());
        CheckContext::new(Arc::clone(&world.backend), vault, true)
    }
    async fn probe(&self, world: &World) -> String {
        format!("unchanged: {}", world.unchanged().await)
    }
}

/// What a pin holds is there, whatever becomes of the others.
pub(crate) struct ExpireOne;

impl ExpireOne {
    fn request(world: &World) -> Request {
        Request {
            vault: world.vault.id(),
            rules: Default::default(),
            unwanted: BTreeSet::from([world.points[0].vm]),
            zone: "UTC".to_owned(),
            grace: "7d".to_owned(),
        }
    }
}

#[async_trait]
impl Act for ExpireOne {
    type Context = ExpireContext;

    fn plan(&self, world: &World, job: JobId) -> JobPlan<ExpireContext> {
        expire::plan(job, "main", &Self::request(world))
    }
    async fn context(&self, world: &World, _: JobId) -> ExpireContext {
        ExpireContext::new(world.vault.clone(), Self::request(world))
    }
    async fn probe(&self, world: &World) -> String {
        let list = world.vault.points().await.unwrap();
        let pinned = list
            .points
            .iter()
            .any(|point| point.id == world.points[0].id);
        let back = list.points.len() + list.deleted.len();
        format!(
            "pinned: {pinned}, can be had: {back}, whole: {}",
            whole(&world.vault).await
        )
    }
}

/// The points are whole.
pub(crate) struct CollectAll;

#[async_trait]
impl Act for CollectAll {
    type Context = CollectContext;

    fn plan(&self, world: &World, job: JobId) -> JobPlan<CollectContext> {
        collect::plan(job, "main", world.vault.id())
    }
    async fn context(&self, world: &World, _: JobId) -> CollectContext {
        // There is something to free, unless an earlier process has done that.
        world.vault.expire(world.points[1].id).await.ok();
        CollectContext::new(world.vault.clone())
    }
    async fn probe(&self, world: &World) -> String {
        format!("whole: {}", whole(&world.vault).await)
    }
}

/// There is no backup of the database, or one that can be read.
pub(crate) struct BackUpDatabase;

#[async_trait]
impl Act for BackUpDatabase {
    type Context = DatabaseContext;

    fn plan(&self, world: &World, job: JobId) -> JobPlan<DatabaseContext> {
        database::plan(job, "main", world.vault.id())
    }
    async fn context(&self, world: &World, job: JobId) -> DatabaseContext {
        let catalog = Catalog::open(&world.dir.path().join("catalog.db")).await;
        let services = Services {
            catalog: Arc::new(catalog.unwrap()),
            vault: world.vault.clone(),
            files: Vec::new(),
            host: None,
            scratch: world.dir.path().to_owned(),
            index_cache: None,
        };
        DatabaseContext::new(job, services)
    }
    async fn probe(&self, world: &World) -> String {
        let backups = Backups::of(&world.vault).await.unwrap();
        let whole = whole(&world.vault).await;
        format!("backups: {}, whole: {whole}", backups.own.len())
    }
}
