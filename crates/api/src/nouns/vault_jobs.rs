//! What can be done with a vault as a whole. All of it is done by the machine that the service runs on: it
//! has the vaults' keys.

use std::num::NonZeroU64;

use axum::{extract::State, response::Response};
use jiff::Timestamp;
use tresor_api_types::{Copy, JobView, Verify};
use tresor_identity::Action;
use tresor_jobs::NewJob;
use tresor_model::{JobId, VaultId};
use tresor_problem::Kind;
use tresor_service::retention_of;
use tresor_workflows::{
    collect,
    copy::{self, CopyOrder},
    expire,
    verify::{VerifyOrder, VerifyWhat},
};

use super::queued::{enqueue, lane};
use crate::{
    ApiState, Principal,
    body::{JsonBody, Named},
    failure::{Answer, Failure, FailureBody, FieldError},
    gate::Who,
};

/// Reads recovery points or a part of the vault back, and checks them.
#[utoipa::path(post, path = "/api/v1/vaults/{vault}/verify", tag = "vaults", params(("vault" = String, Path, description = "The vault's name.")), request_body = Verify, responses(
    (status = 202, description = "The job, which waits. `Location` is where to ask for it.", body = JobView),
    (status = "4XX", description = "The problem.", body = FailureBody),
))]
pub(crate) async fn verify(
    State(state): State<ApiState>,
    Who(who): Who,
    Named(vault): Named<String>,
    JsonBody(asked): JsonBody<Verify>,
) -> Answer<Response> {
    let vault = state.catalog.vault(&vault).await?;
    let order = VerifyOrder::new(&vault.name, what(asked)?);
    let job = order.new_job(JobId::generate(), Timestamp::now());
    start(&state, &who, (Action::JobStart, vault.id), job).await
}

fn what(asked: Verify) -> Answer<VerifyWhat> {
    let Verify {
        vm,
        point,
        since_last,
        share,
    } = asked;
    match (vm, point, since_last, share) {
        (None, None, false, None) => Ok(VerifyWhat::All),
        (Some(vm), None, false, None) => Ok(VerifyWhat::Vm { vm }),
        (None, Some(point), false, None) => Ok(VerifyWhat::Point { point }),
        (None, None, true, None) => Ok(VerifyWhat::SinceLast),
        (None, None, false, Some(share)) => match share.parse() {
            Ok(share) => Ok(VerifyWhat::Share { share }),
            Err(error) => {
                let field = FieldError {
                    field: "share".to_owned(),
                    wrong: format!("{error}"),
                };
                let what = format!("`share`: {error}.");
                Err(Failure::malformed(what).with_errors(vec![field]))
            }
        },
        _ => Err(Failure::malformed(
            "Only one of `vm`, `point`, `since_last` and `share` can be asked for.",
        )),
    }
}

/// Copies recovery points to another vault: what it does not have and did not have.
#[utoipa::path(post, path = "/api/v1/vaults/{vault}/copy", tag = "vaults", params(("vault" = String, Path, description = "Name of the vault to copy from.")), request_body = Copy, responses(
    (status = 202, description = "The job, which waits. `Location` is where to ask for it.", body = JobView),
    (status = "4XX", description = "The problem.", body = FailureBody),
))]
pub(crate) async fn copy(
    State(state): State<ApiState>,
    Who(who): Who,
    Named(vault): Named<String>,
    JsonBody(asked): JsonBody<Copy>,
) -> Answer<Response> {
    let from = state.catalog.vault(&vault).await?;
    let to = state.catalog.vault(&asked.to).await?;
    if from.id == to.id {
        let what = "A vault is not copied into itself: `to` is the one to copy from.";
        return Err(Failure::malformed(what));
    }
    let order = CopyOrder {
        vms: asked.vms,
        points: asked.points,
        newest: asked.newest.and_then(|newest| usize::try_from(newest).ok()),
        older: asked.older,
        read_back: asked.read_back,
        read_limit: asked.read_mib_s.and_then(bytes_per_second),
        upload_limit: asked.upload_mib_s.and_then(bytes_per_second),
        ..CopyOrder::new((&from.name, from.id), (&to.name, to.id))
    };
    let job = copy::plan(JobId::generate(), &order).new_job(Timestamp::now());
    start(&state, &who, (Action::JobStart, from.id), job).await
}

fn bytes_per_second(mib: u32) -> Option<NonZeroU64> {
    NonZeroU64::new(u64::from(mib) << 20)
}

/// Removes what retention does not keep, as the policies and the VMs' own rules say now.
#[utoipa::path(post, path = "/api/v1/vaults/{vault}/expire", tag = "vaults", params(("vault" = String, Path, description = "The vault's name.")), responses(
    (status = 202, description = "The job, which waits. `Location` is where to ask for it.", body = JobView),
    (status = "4XX", description = "The problem.", body = FailureBody),
))]
pub(crate) async fn expire(
    State(state): State<ApiState>,
    Who(who): Who,
    Named(vault): Named<String>,
) -> Answer<Response> {
    let vault = state.catalog.vault(&vault).await?;
    let request = retention_of(&state.catalog, &vault, &state.options.zone).await?;
    let Some(request) = request else {
        let vault = vault.name;
        return Err(Kind::NothingExpires { vault }.into());
    };
    let plan = expire::plan(JobId::generate(), &vault.name, &request);
    let job = plan.new_job(Timestamp::now());
    start(&state, &who, (Action::JobStartRemoval, vault.id), job).await
}

/// Frees the space of what no recovery point uses any more.
#[utoipa::path(post, path = "/api/v1/vaults/{vault}/collect", tag = "vaults", params(("vault" = String, Path, description = "The vault's name.")), responses(
    (status = 202, description = "The job, which waits. `Location` is where to ask for it.", body = JobView),
    (status = "4XX", description = "The problem.", body = FailureBody),
))]
pub(crate) async fn collect(
    State(state): State<ApiState>,
    Who(who): Who,
    Named(vault): Named<String>,
) -> Answer<Response> {
    let vault = state.catalog.vault(&vault).await?;
    let plan = collect::plan(JobId::generate(), &vault.name, vault.id);
    let job = plan.new_job(Timestamp::now());
    start(&state, &who, (Action::JobStartRemoval, vault.id), job).await
}

async fn start(
    state: &ApiState,
    who: &Principal,
    (action, vault): (Action, VaultId),
    job: NewJob,
) -> Answer<Response> {
    let object = format!("vault:{vault}");
    enqueue(state, who, (action, object), (job, lane(None))).await
}
