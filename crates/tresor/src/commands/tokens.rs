//! `tresor tokens …`

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tresor_api_client::Client;
use tresor_api_types::{NewToken, PageQuery, TokenView};
use tresor_host::usage;
use tresor_policy::Length;
use tresor_problem::Problem;

use super::session::{Session, print_problem};
use crate::args::{RoleArg, TokensCommand};

pub(super) async fn run(command: TokensCommand, session: &Session) -> Result<(), Problem> {
    let client = session.client().await?;
    match command {
        TokensCommand::List => list(session, &client).await,
        TokensCommand::Create { name, role, valid } => {
            create(session, &client, (name, role), valid).await
        }
        TokensCommand::Revoke { token } => {
            let token = client.revoke_token(token).await?;
            let text = || {
                format!(
                    "Token {} ({}) opens nothing any more.",
                    token.name, token.id
                )
            };
            let printed = session.output.result("token_revoked", &token, text);
            printed.map_err(print_problem)
        }
    }
}

async fn list(session: &Session, client: &Client) -> Result<(), Problem> {
    let tokens = client.tokens(&PageQuery::default()).all().await?;
    let now = Timestamp::now();
    let moment = |at: Option<Timestamp>| at.map_or("-".to_owned(), |at| at.to_string());
    let cells = |token: &TokenView| {
        vec![
            token.name.clone(),
            word(&token.role),
            standing(token, now),
            moment(token.last_used_at),
            token.id.to_string(),
        ]
    };
    let header = ["token", "role", "state", "last used", "id"];
    let none = "there are no tokens: `tresor serve` makes the first one";
    let printed = session.output.list("token", &header, &tokens, cells, none);
    printed.map_err(print_problem)
}

fn standing(token: &TokenView, now: Timestamp) -> String {
    match (token.revoked_at, token.expires_at) {
        (Some(_), _) => "revoked".to_owned(),
        (None, Some(end)) if end <= now => "expired".to_owned(),
        (None, Some(end)) => format!("good until {end}"),
        (None, None) => "good".to_owned(),
    }
}

fn word(value: &impl serde::Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

async fn create(
    session: &Session,
    client: &Client,
    (name, role): (String, RoleArg),
    valid: Option<Length>,
) -> Result<(), Problem> {
    let end = |valid: Length| {
        let length = SignedDuration::from_secs(valid.seconds().into());
        Timestamp::now().checked_add(length)
    };
    let end = valid.map(end).transpose();
    let asked = NewToken {
        name,
        role: role.into(),
        expires_at: end.map_err(|error| usage(&format!("--valid: {error}.")))?,
    };
    let made = client.make_token(&asked).await?;
    let result = json!({ "secret": made.secret, "token": made.token });
    let text = || {
        format!(
            "Token {} ({}), shown this once:\n{}",
            made.token.name, made.token.id, made.secret
        )
    };
    let printed = session.output.result("token_made", &result, text);
    printed.map_err(print_problem)
}
