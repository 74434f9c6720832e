//! `tresor protect`

use jiff::Timestamp;
use serde_json::json;
use tresor_api_client::Client;
use tresor_api_types::{ItemView, Protect};
use tresor_model::VmId;
use tresor_problem::Problem;
use tresor_service::Outlook;

use super::{
    lookup, open, policies,
    session::{Session, print_problem},
};
use crate::args::ProtectArgs;

pub(super) async fn run(args: ProtectArgs, session: &Session) -> Result<(), Problem> {
    let client = session.client().await?;
    let vm = vm(session, &client, &args.vm).await?;
    let asked = Protect {
        policy: args.policy.clone(),
        vault: args.vault.clone(),
        name: args.name.clone(),
    };
    let item = client.protect(vm, &asked).await?;
    tell(session, &client, &item).await
}

/// Its id. This machine's catalog also knows those that are registered and were never found.
async fn vm(session: &Session, client: &Client, name: &str) -> Result<VmId, Problem> {
    if !session.is_remote()? {
        match open::vm(&*session.catalog().await?, name).await {
            Ok(vm) => return Ok(vm.id),
            Err(problem) if problem.is("VmNotFound") => {}
            Err(problem) => return Err(problem),
        }
    }
    lookup::vm(client, name).await
}

async fn tell(session: &Session, client: &Client, item: &ItemView) -> Result<(), Problem> {
    let policy = client.policy(&item.policy).await?;
    let zone = policies::zone(client).await?;
    let now = Timestamp::now();
    let outlook = Outlook::new(policy.policy, policy.revision, &zone, now);
    let first = outlook
        .ok()
        .and_then(|outlook| outlook.window_after(now, None, None, now));
    let result = json!({
        "vm": item.name, "policy": item.policy, "vault": item.vault,
        "next_window": first.map(|window| window.opens),
    });
    let text = || {
        let when = first.map_or("its policy is never due again".to_owned(), |window| {
            format!(
                "the next backup starts between {} and {}",
                window.opens, window.closes
            )
        });
        format!(
            "VM {} is protected by policy {}, into vault {}: {when}, while `tresor serve` runs.",
            item.name, item.policy, item.vault
        )
    };
    let printed = session.output.result("protected", &result, text);
    printed.map_err(print_problem)
}
