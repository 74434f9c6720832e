//! Tokens of the API. A secret is shown once; only its hash is kept.

use axum::{Json, extract::State, http::StatusCode};
use jiff::Timestamp;
use tresor_api_types::{MadeToken, NewToken, PageQuery, Paged, TokenView};
use tresor_catalog::{Page, SecretHash, TokenRecord};
use tresor_identity::{Action, ApiToken};
use tresor_model::TokenId;
use tresor_problem::Kind;

use crate::{
    ApiState,
    body::{Asked, JsonBody, Named},
    failure::{Answer, Failure, FailureBody, FieldError},
    gate::Who,
    page::Bounds,
    trail,
};

const LONGEST_NAME: usize = 100;

/// Tokens, oldest first, without their secrets.
#[utoipa::path(get, path = "/api/v1/tokens", tag = "tokens", params(PageQuery), responses(
    (status = 200, description = "A page of tokens.", body = Paged<TokenView>),
    (status = "4XX", description = "The problem.", body = FailureBody),
))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    Asked(asked): Asked<PageQuery>,
) -> Answer<Json<Paged<TokenView>>> {
    let bounds = Bounds::new("tokens", asked.limit, asked.cursor.as_deref())?;
    let page = Page {
        after: bounds.after,
        limit: bounds.read(),
    };
    let tokens = state.catalog.tokens(&page).await?;
    Ok(bounds.page(tokens, |token| token.id.to_string(), view))
}

/// Makes a token. Its secret is shown this once, so the request takes no Idempotency-Key.
#[utoipa::path(post, path = "/api/v1/tokens", tag = "tokens", request_body = NewToken, responses(
    (status = 201, description = "The token with its secret.", body = MadeToken),
    (status = "4XX", description = "The problem.", body = FailureBody),
))]
pub(crate) async fn create(
    State(state): State<ApiState>,
    Who(who): Who,
    JsonBody(asked): JsonBody<NewToken>,
) -> Answer<(StatusCode, Json<MadeToken>)> {
    let now = Timestamp::now();
    check(&asked, now)?;
    let token = ApiToken::generate(TokenId::generate()).map_err(|error| Kind::Internal {
        what: format!("No token could be made: {error}."),
    })?;
    let record = TokenRecord {
        id: token.id(),
        name: asked.name,
        hash: SecretHash::from(*token.hash().as_bytes()),
        role: asked.role,
        created_at: now,
        expires_at: asked.expires_at,
        last_used_at: None,
        revoked_at: None,
    };
    state.catalog.add_token(&record).await?;
    let view = view(record);
    let (object, views) = (format!("token:{}", view.id), (trail::NOTHING, Some(&view)));
    trail::note(&state, &who, Action::TokenAdd, object, views).await?;
    let secret = token.to_text().as_str().to_owned();
    let made = MadeToken {
        secret,
        token: view,
    };
    Ok((StatusCode::CREATED, Json(made)))
}

/// Revokes a token, from now on. One that is revoked stays so.
#[utoipa::path(delete, path = "/api/v1/tokens/{id}", tag = "tokens", params(("id" = String, Path, description = "The token's id.", format = Uuid)), responses(
    (status = 200, description = "The token as it is now.", body = TokenView),
    (status = "4XX", description = "The problem.", body = FailureBody),
))]
pub(crate) async fn revoke(
    State(state): State<ApiState>,
    Who(who): Who,
    Named(id): Named<TokenId>,
) -> Answer<Json<TokenView>> {
    let before = view(state.catalog.token(id).await?);
    state.catalog.revoke_token(id, Timestamp::now()).await?;
    let after = view(state.catalog.token(id).await?);
    let (object, views) = (format!("token:{id}"), (Some(before), Some(&after)));
    trail::note(&state, &who, Action::TokenRevoke, object, views).await?;
    Ok(Json(after))
}

fn check(asked: &NewToken, now: Timestamp) -> Answer<()> {
    let mut errors = Vec::new();
    let mut wrong = |field: &str, wrong: &str| {
        errors.push(FieldError {
            field: field.to_owned(),
            wrong: wrong.to_owned(),
        });
    };
    let length = asked.name.chars().count();
    if !(1..=LONGEST_NAME).contains(&length) || asked.name.chars().any(char::is_control) {
        wrong(
            "name",
            "a name is 1 to 100 characters, none of them a control character",
        );
    }
    if asked.expires_at.is_some_and(|end| end <= now) {
        wrong("expires_at", "this is in the past");
    }
    if errors.is_empty() {
        return Ok(());
    }
    let failure = Failure::malformed("The token cannot be so: `errors` says which fields.");
    Err(failure.with_errors(errors))
}

fn view(token: TokenRecord) -> TokenView {
    TokenView {
        id: token.id,
        name: token.name,
        role: token.role,
        created_at: token.created_at,
        expires_at: token.expires_at,
        last_used_at: token.last_used_at,
        revoked_at: token.revoked_at,
    }
}
