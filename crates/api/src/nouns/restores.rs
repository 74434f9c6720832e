//! Restores.

use std::path::PathBuf;

use axum::{extract::State, response::Response};
use jiff::Timestamp;
use tresor_api_types::{JobView, Restore};
use tresor_identity::{Action, may};
use tresor_model::{JobId, PointId, VaultId};
use tresor_problem::Kind;
use tresor_workflows::restore::{self, RestoreFormat, RestoreOrder};

use super::queued::{enqueue, lane};
use crate::{
    ApiState,
    body::{JsonBody, Named},
    failure::{Answer, Failure, FailureBody, FieldError},
    gate::Who,
};

/// The longest path.
const LONGEST: usize = 4096;

/// Restores a recovery point into a directory of a host.
#[utoipa::path(post, path = "/api/v1/points/{point}/restore", tag = "points", params(("point" = String, Path, description = "The recovery point's id.", format = Uuid)), request_body = Restore, responses(
    (status = 202, description = "The job, which waits. `Location` is where to ask for it.", body = JobView),
    (status = "4XX", description = "The problem.", body = FailureBody),
))]
pub(crate) async fn restore(
    State(state): State<ApiState>,
    Who(who): Who,
    Named(point): Named<PointId>,
    JsonBody(asked): JsonBody<Restore>,
) -> Answer<Response> {
    let action = match asked.overwrite {
        true => Action::RestoreOver,
        false => Action::Restore,
    };
    if !may(who.role, action) {
        return Err(action.denied(who.role).into());
    }
    let record = state.catalog.point(point).await?;
    let vault = match &asked.vault {
        Some(name) => state.catalog.vault(name).await?.name,
        None => name_of(&state, record.vault).await?,
    };
    if let Some(host) = asked.host {
        state.catalog.host(host).await?;
    }
    let order = RestoreOrder {
        only: asked.disks,
        format: asked.format.as_deref().map(format).transpose()?,
        overwrite: asked.overwrite,
        ..RestoreOrder::new(&vault, (point, &record.vm_name), to(asked.to, point)?)
    };
    let job = restore::plan(JobId::generate(), &order).new_job(Timestamp::now());
    let object = format!("point:{point}");
    enqueue(&state, &who, (action, object), (job, lane(asked.host))).await
}

async fn name_of(state: &ApiState, vault: VaultId) -> Answer<String> {
    let vaults = state.catalog.vaults().await?;
    let found = vaults.into_iter().find(|known| known.id == vault);
    let missing = || Kind::ObjectNotFound {
        object: "vault".to_owned(),
        name: vault.to_string(),
    };
    Ok(found.ok_or_else(missing)?.name)
}

/// Whether it may be one is the host's to say.
fn to(text: Option<String>, point: PointId) -> Answer<PathBuf> {
    match text {
        None => Ok(PathBuf::from(point.to_string())),
        Some(text) if text.is_empty() || text.len() > LONGEST || text.contains('\0') => {
            Err(wrong("to", "is no path of a directory"))
        }
        Some(text) => Ok(text.into()),
    }
}

fn format(text: &str) -> Answer<RestoreFormat> {
    text.parse()
        .map_err(|_| wrong("format", "is neither `raw` nor `qcow2`"))
}

fn wrong(field: &str, wrong: &str) -> Failure {
    let error = FieldError {
        field: field.to_owned(),
        wrong: wrong.to_owned(),
    };
    Failure::malformed(format!("`{field}` {wrong}.")).with_errors(vec![error])
}
