//! Policies.

use axum::{
    Json,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use jiff::Timestamp;
use tresor_api_types::{PageQuery, Paged, PolicyView};
use tresor_catalog::{CatalogErrorKind, Page, PolicyRecord};
use tresor_identity::Action;
use tresor_policy::Policy;
use tresor_problem::Kind;
use tresor_service::Outlook;

use crate::{
    ApiState, body,
    body::{Asked, Named},
    failure::{Answer, Failure, FailureBody, FieldError},
    gate::Who,
    page::Bounds,
    trail,
};

/// Policies, by name.
#[utoipa::path(get, path = "/api/v1/policies", tag = "policies", params(PageQuery), responses(
    (status = 200, description = "A page of policies.", body = Paged<PolicyView>),
    (status = "4XX", description = "The problem.", body = FailureBody),
))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    Asked(asked): Asked<PageQuery>,
) -> Answer<Json<Paged<PolicyView>>> {
    let bounds = Bounds::new("policies", asked.limit, asked.cursor.as_deref())?;
    let page = Page {
        after: bounds.after.clone(),
        limit: bounds.read(),
    };
    let mut views = Vec::new();
    for record in state.catalog.policies(&page).await? {
        views.push(view(&state, record).await?);
    }
    Ok(bounds.page(views, |view| view.policy.name.clone(), |view| view))
}

/// One policy. Its ETag is its revision.
#[utoipa::path(get, path = "/api/v1/policies/{name}", tag = "policies", params(("name" = String, Path, description = "Its name.")), responses(
    (status = 200, description = "The policy.", body = PolicyView),
    (status = "4XX", description = "The problem.", body = FailureBody),
))]
pub(crate) async fn show(
    State(state): State<ApiState>,
    Named(name): Named<String>,
) -> Answer<Response> {
    let record = state.catalog.policy(&name).await?;
    answer(&state, StatusCode::OK, record).await
}

/// Adds a policy, or puts a document in the place of the one that is there: then `If-Match` must have the
/// ETag of the one it was made from.
#[utoipa::path(put, path = "/api/v1/policies/{name}", tag = "policies", params(
    ("name" = String, Path, description = "Its name; the document's too."),
    ("If-Match" = Option<String>, Header, pattern = "^\"[0-9]{1,19}\"$", description = "The ETag of the revision that is replaced. None: the policy is new."),
), request_body(content = Object, description = "The document."), responses(
    (status = 200, description = "The policy as it is now.", body = PolicyView),
    (status = 201, description = "The new policy.", body = PolicyView),
    (status = 412, description = "It was changed meanwhile.", body = FailureBody),
    (status = 422, description = "It cannot be so: `errors` has what is wrong, by field.", body = FailureBody),
    (status = 428, description = "There is one, and If-Match is missing.", body = FailureBody),
    (status = "4XX", description = "The problem.", body = FailureBody),
))]
pub(crate) async fn put(
    State(state): State<ApiState>,
    Who(who): Who,
    Named(name): Named<String>,
    request: Request,
) -> Answer<Response> {
    let expected = revision_in(request.headers())?;
    let policy: Policy = body::decode(&body::json_bytes(request).await?)
        .map_err(|error| refused(&name, vec![error]))?;
    validate(&state, &name, &policy)?;
    let now = Timestamp::now();
    let before = match state.catalog.policy(&name).await {
        Ok(before) => Some(before),
        Err(error) if matches!(error.kind, CatalogErrorKind::NotFound(_)) => None,
        Err(error) => return Err(error.into()),
    };
    let status = match (&before, expected) {
        (None, None) => {
            state.catalog.add_policy(&policy, now).await?;
            StatusCode::CREATED
        }
        (Some(_), None) => {
            let object = "policy".to_owned();
            return Err(Kind::RevisionNeeded { object, name }.into());
        }
        (_, Some(revision)) => {
            state.catalog.update_policy(&policy, revision, now).await?;
            StatusCode::OK
        }
    };
    let after = state.catalog.policy(&name).await?;
    state.changed.notify_one();
    let documents = (before.map(|record| record.policy), Some(&after.policy));
    let object = format!("policy:{name}");
    trail::note(&state, &who, Action::PolicyChange, object, documents).await?;
    answer(&state, status, after).await
}

/// Forgets a policy that no protected item has.
#[utoipa::path(delete, path = "/api/v1/policies/{name}", tag = "policies", params(("name" = String, Path, description = "Its name.")), responses(
    (status = 204, description = "It is gone."),
    (status = 409, description = "A protected item has it.", body = FailureBody),
    (status = "4XX", description = "The problem.", body = FailureBody),
))]
pub(crate) async fn remove(
    State(state): State<ApiState>,
    Who(who): Who,
    Named(name): Named<String>,
) -> Answer<StatusCode> {
    let before = state.catalog.policy(&name).await?.policy;
    state.catalog.remove_policy(&name).await?;
    state.changed.notify_one();
    let object = format!("policy:{name}");
    let documents = (Some(before), trail::NOTHING);
    trail::note(&state, &who, Action::PolicyChange, object, documents).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn validate(state: &ApiState, name: &str, policy: &Policy) -> Answer<()> {
    let mut errors = Vec::new();
    if policy.name != name {
        errors.push(FieldError {
            field: "name".to_owned(),
            wrong: format!("it is `{}`, and the path says `{name}`", policy.name),
        });
    }
    let zone = &state.options.zone;
    if let Err(wrong) = policy.validate(Timestamp::now(), zone, jiff::tz::db()) {
        errors.extend(wrong.into_iter().map(|error| FieldError {
            field: error.field,
            wrong: error.wrong.to_string(),
        }));
    }
    match errors.is_empty() {
        true => Ok(()),
        false => Err(refused(name, errors)),
    }
}

fn refused(name: &str, errors: Vec<FieldError>) -> Failure {
    let wrong = errors
        .iter()
        .map(|error| format!("{}: {}", error.field, error.wrong));
    let wrong = wrong.collect::<Vec<_>>().join("; ");
    let policy = name.to_owned();
    Failure::from(Kind::PolicyInvalid { policy, wrong }).with_errors(errors)
}

/// The revision in `If-Match: "7"`.
fn revision_in(headers: &HeaderMap) -> Answer<Option<u64>> {
    let Some(value) = headers.get(header::IF_MATCH) else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default();
    let text = text
        .trim()
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    let revision = text.and_then(|text| text.parse().ok());
    let bad = || Failure::malformed("`If-Match` is an ETag that this API gave, such as \"7\".");
    Ok(Some(revision.ok_or_else(bad)?))
}

async fn answer(state: &ApiState, status: StatusCode, record: PolicyRecord) -> Answer<Response> {
    let headers = [(header::ETAG, format!("\"{}\"", record.revision))];
    Ok((status, headers, Json(view(state, record).await?)).into_response())
}

async fn view(state: &ApiState, record: PolicyRecord) -> Answer<PolicyView> {
    let outlook = state.outlooks.of(&record).await?;
    let gap = outlook.as_deref().and_then(Outlook::gap);
    Ok(PolicyView {
        revision: record.revision,
        created_at: record.created_at,
        updated_at: record.updated_at,
        longest_gap_s: gap.map(|gap| gap.as_secs()),
        policy: record.policy,
    })
}
