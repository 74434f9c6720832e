//! Protected items: how they stand, and what can be done with them.

use axum::{Json, extract::State, http::StatusCode, response::Response};
use jiff::Timestamp;
use tresor_api_types::{self as types, ItemQuery, ItemView, JobView, Paged, Protect};
use tresor_catalog::{ItemFilter, ItemRecord, ItemState, Page};
use tresor_identity::{Action, may};
use tresor_jobs::{JobFilter, JobLog as _};
use tresor_model::{HostId, JobId, JobKind, JobState, VmId};
use tresor_problem::Kind;
use tresor_service::{Outlook, Standing, lane_of, order, unwanted};
use tresor_workflows::{
    backup::{self, BackupCause},
    expire,
};

use super::{
    queued::{enqueue, lane},
    registering,
};
use crate::{
    ApiState, Principal,
    body::{Asked, JsonBody, Named},
    failure::{Answer, Failure, FailureBody},
    gate::Who,
    outlooks::Seen,
    page::Bounds,
    trail,
};

/// Protected items, by VM.
#[utoipa::path(get, path = "/api/v1/items", tag = "items", params(ItemQuery), responses(
    (status = 200, description = "A page of protected items.", body = Paged<ItemView>),
    (status = "4XX", description = "The problem.", body = FailureBody),
))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    Asked(asked): Asked<ItemQuery>,
) -> Answer<Json<Paged<ItemView>>> {
    let bounds = Bounds::new("items", asked.limit, asked.cursor.as_deref())?;
    let filter = ItemFilter {
        host: host(asked.host.as_deref())?,
        vault: asked.vault,
        policy: asked.policy,
        state: asked.state,
    };
    let page = Page {
        after: bounds.after,
        limit: bounds.read(),
    };
    let items = state.catalog.items(&filter, &page).await?;
    let seen = state.outlooks.seen_by(&items).await?;
    let now = Timestamp::now();
    Ok(bounds.page(
        items,
        |item| item.vm.to_string(),
        |item| view(&item, &seen, now),
    ))
}

/// One protected item.
#[utoipa::path(get, path = "/api/v1/items/{vm}", tag = "items", params(("vm" = String, Path, description = "The VM's id.", format = Uuid)), responses(
    (status = 200, description = "The protected item.", body = ItemView),
    (status = "4XX", description = "The problem.", body = FailureBody),
))]
pub(crate) async fn show(
    State(state): State<ApiState>,
    Named(vm): Named<VmId>,
) -> Answer<Json<ItemView>> {
    Ok(Json(one(&state, vm).await?))
}

/// Protects a VM by a policy, or gives a protected one another policy (which needs `items.change`). One that
/// was found is registered with it. Protection that was stopped goes on.
#[utoipa::path(put, path = "/api/v1/items/{vm}", tag = "items", params(("vm" = String, Path, description = "The VM's id.", format = Uuid)), request_body = Protect, responses(
    (status = 200, description = "The protected item as it is now.", body = ItemView),
    (status = "4XX", description = "The problem.", body = FailureBody),
))]
pub(crate) async fn protect(
    State(state): State<ApiState>,
    Who(who): Who,
    Named(vm): Named<VmId>,
    JsonBody(asked): JsonBody<Protect>,
) -> Answer<Json<ItemView>> {
    let before = match one(&state, vm).await {
        Ok(before) => Some(before),
        Err(failure) if failure.status == StatusCode::NOT_FOUND => None,
        Err(failure) => return Err(failure),
    };
    let other = before
        .as_ref()
        .is_some_and(|before| before.policy != asked.policy);
    let action = match other {
        true => Action::ItemChange,
        false => Action::ItemProtect,
    };
    if !may(who.role, action) {
        return Err(action.denied(who.role).into());
    }
    registering::register(&state, vm, &asked).await?;
    let now = Timestamp::now();
    state.catalog.protect(vm, &asked.policy, now).await?;
    changed(&state, &who, action, vm, before).await
}

/// Makes no more backups of a VM. Its recovery points stay.
#[utoipa::path(post, path = "/api/v1/items/{vm}/stop", tag = "items", params(("vm" = String, Path, description = "The VM's id.", format = Uuid)), responses(
    (status = 200, description = "The protected item as it is now.", body = ItemView),
    (status = "4XX", description = "The problem.", body = FailureBody),
))]
pub(crate) async fn stop(
    State(state): State<ApiState>,
    Who(who): Who,
    Named(vm): Named<VmId>,
) -> Answer<Json<ItemView>> {
    let before = one(&state, vm).await?;
    state.catalog.stop_protection(vm, Timestamp::now()).await?;
    changed(&state, &who, Action::ItemStop, vm, Some(before)).await
}

/// Makes no more backups of a VM, and deletes its recovery points in its vault: to be brought back for 7
/// days, as by retention. Those that a pin or a lock holds go when it does not any more.
#[utoipa::path(post, path = "/api/v1/items/{vm}/delete-data", tag = "items", params(("vm" = String, Path, description = "The VM's id.", format = Uuid)), responses(
    (status = 202, description = "The job that deletes them, which waits. `Location` is where to ask for it.", body = JobView),
    (status = "4XX", description = "The problem.", body = FailureBody),
))]
pub(crate) async fn delete_data(
    State(state): State<ApiState>,
    Who(who): Who,
    Named(vm): Named<VmId>,
) -> Answer<Response> {
    let item = state.catalog.item(vm).await?;
    let vault = state.catalog.vault(&item.vault).await?;
    let now = Timestamp::now();
    state.catalog.stop_and_delete(vm, now).await?;
    state.changed.notify_one();
    let request = unwanted(&vault, vm, &state.options.zone);
    let job = expire::plan(JobId::generate(), &vault.name, &request).new_job(now);
    let action = (Action::ItemDeleteData, format!("item:{vm}"));
    enqueue(&state, &who, action, (job, lane(None))).await
}

/// Makes backups of a VM again.
#[utoipa::path(post, path = "/api/v1/items/{vm}/resume", tag = "items", params(("vm" = String, Path, description = "The VM's id.", format = Uuid)), responses(
    (status = 200, description = "The protected item as it is now.", body = ItemView),
    (status = "4XX", description = "The problem.", body = FailureBody),
))]
pub(crate) async fn resume(
    State(state): State<ApiState>,
    Who(who): Who,
    Named(vm): Named<VmId>,
) -> Answer<Json<ItemView>> {
    let before = one(&state, vm).await?;
    let now = Timestamp::now();
    state.catalog.resume_protection(vm, now).await?;
    changed(&state, &who, Action::ItemProtect, vm, Some(before)).await
}

/// Starts a backup now: the job waits until its host takes it up. A VM has one such job that waits at most.
#[utoipa::path(post, path = "/api/v1/items/{vm}/backup", tag = "items", params(("vm" = String, Path, description = "The VM's id.", format = Uuid)), responses(
    (status = 202, description = "The job, which waits. `Location` is where to ask for it.", body = JobView),
    (status = "4XX", description = "The problem.", body = FailureBody),
))]
pub(crate) async fn backup(
    State(state): State<ApiState>,
    Who(who): Who,
    Named(vm): Named<VmId>,
) -> Answer<Response> {
    let item = state.catalog.item(vm).await?;
    if item.state != ItemState::Protected {
        let vm = item.vm_name;
        return Err(Kind::ProtectionStopped { vm }.into());
    }
    refuse_second(&state, &item).await?;
    let policy = state.catalog.policy(&item.policy).await?.policy;
    let registered = state.catalog.vm_by_id(vm).await?;
    let plan = backup::plan(
        JobId::generate(),
        &order(&registered, &policy, BackupCause::Asked),
    );
    let job = plan.new_job(Timestamp::now());
    let action = (Action::JobStart, format!("item:{vm}"));
    enqueue(&state, &who, action, (job, lane_of(&item))).await
}

/// One that waits will do what a second one would.
async fn refuse_second(state: &ApiState, item: &ItemRecord) -> Answer<()> {
    let filter = JobFilter {
        subject: Some(item.vm_name.clone()),
        kind: Some(JobKind::Backup),
        state: Some(JobState::Queued),
        limit: Some(1),
        ..JobFilter::default()
    };
    let waiting = state.catalog.list(&filter).await?;
    match waiting.into_iter().next() {
        Some(header) if !header.cancel_requested => Err(Kind::VmBusy {
            vm: item.vm_name.clone(),
            job: header.job.id.to_string(),
            holder: "the queue: it waits to be taken up".to_owned(),
        }
        .into()),
        _ => Ok(()),
    }
}

/// Tells who must know of a change, and shows what there is now.
async fn changed(
    state: &ApiState,
    who: &Principal,
    action: Action,
    vm: VmId,
    before: Option<ItemView>,
) -> Answer<Json<ItemView>> {
    state.changed.notify_one();
    let after = one(state, vm).await?;
    let object = format!("item:{vm}");
    trail::note(state, who, action, object, (before, Some(&after))).await?;
    Ok(Json(after))
}

async fn one(state: &ApiState, vm: VmId) -> Answer<ItemView> {
    let items = [state.catalog.item(vm).await?];
    let seen = state.outlooks.seen_by(&items).await?;
    Ok(view(&items[0], &seen, Timestamp::now()))
}

/// How an item looks at `now`.
pub(crate) fn view(item: &ItemRecord, seen: &Seen, now: Timestamp) -> ItemView {
    let outlook: Option<&Outlook> = seen.get(&item.policy).and_then(Option::as_deref);
    let standing = outlook.map(|outlook| Standing::of(item, outlook, now));
    let (standing, late_since) = match standing {
        None => (None, None),
        Some(Standing::Fresh) => (Some(types::Standing::Fresh), None),
        Some(Standing::Waiting) => (Some(types::Standing::Waiting), None),
        Some(Standing::Late { since }) => (Some(types::Standing::Late), Some(since)),
        Some(Standing::Vanished { .. }) => (Some(types::Standing::Vanished), None),
        Some(Standing::Stopped) => (Some(types::Standing::Stopped), None),
    };
    ItemView {
        vm: item.vm,
        name: item.vm_name.clone(),
        host: item.host,
        vault: item.vault.clone(),
        policy: item.policy.clone(),
        state: item.state,
        since: item.since,
        standing,
        late_since,
        gone_since: item.gone_since,
        last_started_at: item.memory.last_started_at,
        last_point_at: item.memory.last_point_at,
        next_start_at: outlook.and_then(|outlook| outlook.next_start(item, now)),
        longest_gap_s: outlook.and_then(Outlook::gap).map(|gap| gap.as_secs()),
    }
}

/// A host in a query: an id, or `local`.
pub(crate) fn host(text: Option<&str>) -> Answer<Option<Option<HostId>>> {
    match text {
        None => Ok(None),
        Some("local") => Ok(Some(None)),
        Some(id) => {
            let bad = |_| Failure::malformed("`host` is a host's id, or `local`.");
            id.parse().map(|id| Some(Some(id))).map_err(bad)
        }
    }
}
