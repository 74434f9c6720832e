//! Channels: ways by which notifications go out. What is secret goes in and never comes out.

use axum::{Json, extract::State, http::StatusCode};
use jiff::Timestamp;
use serde_json::Value;
use tresor_api_types::{ChannelList, ChannelView, NewChannel};
use tresor_catalog::{CatalogErrorKind, ChannelRecord, ChannelSecret};
use tresor_identity::Action;
use tresor_notify::Settings;
use tresor_service::test_channel;

use crate::{
    ApiState,
    body::{JsonBody, Named},
    failure::{Answer, Failure, FailureBody, FieldError},
    gate::Who,
    trail,
};

const LONGEST_NAME: usize = 60;
const LONGEST_SECRET: usize = 1000;

/// Channels, by name.
#[utoipa::path(get, path = "/api/v1/channels", tag = "channels", responses(
    (status = 200, description = "All of them.", body = ChannelList),
    (status = "4XX", description = "The problem.", body = FailureBody),
))]
pub(crate) async fn list(State(state): State<ApiState>) -> Answer<Json<ChannelList>> {
    let channels = state.catalog.channels().await?;
    let items = channels.into_iter().map(view).collect();
    Ok(Json(ChannelList { items }))
}

/// Makes a channel, or sets up the one of that name anew.
#[utoipa::path(put, path = "/api/v1/channels/{name}", tag = "channels", params(("name" = String, Path, description = "Its name.")), request_body = NewChannel, responses(
    (status = 200, description = "The channel.", body = ChannelView),
    (status = "4XX", description = "The problem.", body = FailureBody),
))]
pub(crate) async fn put(
    State(state): State<ApiState>,
    Who(who): Who,
    Named(name): Named<String>,
    JsonBody(asked): JsonBody<NewChannel>,
) -> Answer<Json<ChannelView>> {
    let settings = settings_of(&asked)?;
    check(&name, &settings, asked.secret.as_deref())?;
    let before = match state.catalog.channel(&name).await {
        Ok(before) => Some(view(before)),
        Err(error) if matches!(error.kind, CatalogErrorKind::NotFound(_)) => None,
        Err(error) => return Err(error.into()),
    };
    let settings = serde_json::to_value(&settings);
    let settings: Value = settings.map_err(|error| Failure::malformed(format!("{error}.")))?;
    let channel = ChannelRecord {
        name: name.clone(),
        settings,
        secret: asked.secret.map(ChannelSecret::new),
        created_at: Timestamp::now(),
        last_sent_at: None,
        failing_since: None,
        failure: None,
        digest_at: None,
    };
    state.catalog.set_channel(&channel, true).await?;
    let after = view(state.catalog.channel(&name).await?);
    let (object, views) = (format!("channel:{name}"), (before, Some(&after)));
    trail::note(&state, &who, Action::ConfigChange, object, views).await?;
    Ok(Json(after))
}

/// Forgets a channel, and what was to go by it.
#[utoipa::path(delete, path = "/api/v1/channels/{name}", tag = "channels", params(("name" = String, Path, description = "Its name.")), responses(
    (status = 204, description = "It is gone."),
    (status = "4XX", description = "The problem.", body = FailureBody),
))]
pub(crate) async fn remove(
    State(state): State<ApiState>,
    Who(who): Who,
    Named(name): Named<String>,
) -> Answer<StatusCode> {
    let before = view(state.catalog.channel(&name).await?);
    state.catalog.remove_channel(&name).await?;
    let (object, views) = (format!("channel:{name}"), (Some(before), trail::NOTHING));
    trail::note(&state, &who, Action::ConfigChange, object, views).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sends a test by a channel, at once and once.
#[utoipa::path(post, path = "/api/v1/channels/{name}/test", tag = "channels", params(("name" = String, Path, description = "Its name.")), responses(
    (status = 204, description = "It was taken."),
    (status = 502, description = "It was not: the problem says why.", body = FailureBody),
    (status = "4XX", description = "The problem.", body = FailureBody),
))]
pub(crate) async fn test(
    State(state): State<ApiState>,
    Who(who): Who,
    Named(name): Named<String>,
) -> Answer<StatusCode> {
    let tested = test_channel(&state.catalog, &name).await;
    let object = format!("channel:{name}");
    let how = tested.as_ref().map_or("failed", |()| "sent");
    let noted = (trail::NOTHING, Some(serde_json::json!({ "test": how })));
    trail::note(&state, &who, Action::ConfigChange, object, noted).await?;
    Ok(tested.map(|()| StatusCode::NO_CONTENT)?)
}

/// The settings, or which part of them is wrong.
fn settings_of(asked: &NewChannel) -> Answer<Settings> {
    serde_path_to_error::deserialize(&asked.settings).map_err(|error| {
        let error = FieldError {
            field: format!("settings.{}", error.path()),
            wrong: error.inner().to_string(),
        };
        let what = format!(
            "The body cannot be read: `{}`: {}.",
            error.field, error.wrong
        );
        Failure::malformed(what).with_errors(vec![error])
    })
}

fn check(name: &str, settings: &Settings, secret: Option<&str>) -> Answer<()> {
    let mut errors = Vec::new();
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(good) {
        errors.push(FieldError {
            field: "name".to_owned(),
            wrong: "a name is 1 to 60 letters, digits, `-`, `_` and `.`".to_owned(),
        });
    }
    if secret.is_some_and(|secret| secret.is_empty() || secret.len() > LONGEST_SECRET) {
        errors.push(FieldError {
            field: "secret".to_owned(),
            wrong: "a secret is 1 to 1000 characters".to_owned(),
        });
    }
    let defects = settings.defects(secret.is_some()).into_iter();
    errors.extend(defects.map(|defect| FieldError {
        field: format!("settings.{}", defect.field),
        wrong: defect.wrong,
    }));
    if errors.is_empty() {
        return Ok(());
    }
    let failure = Failure::malformed("The channel cannot be so: `errors` says which fields.");
    Err(failure.with_errors(errors))
}

fn view(channel: ChannelRecord) -> ChannelView {
    let settings: Option<Settings> = serde_json::from_value(channel.settings).ok();
    ChannelView {
        name: channel.name,
        settings: settings.and_then(|settings| serde_json::to_value(settings.shown()).ok()),
        has_secret: channel.secret.is_some(),
        created_at: channel.created_at,
        last_sent_at: channel.last_sent_at,
        failing_since: channel.failing_since,
        failure: channel.failure,
    }
}
