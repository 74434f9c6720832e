//! `tresor protect`, `tresor unprotect`

use jiff::{Timestamp, tz::TimeZone};
use serde_json::json;
use tresor_policy::Policy;
use tresor_problem::Problem;
use tresor_service::Outlook;

use super::{
    open,
    session::{Session, print_problem},
};
use crate::args::{ProtectArgs, UnprotectArgs};

pub(super) async fn protect(args: ProtectArgs, session: &Session) -> Result<(), Problem> {
    let catalog = session.catalog().await?;
    tresor_service::make_ready(&catalog, &Policy::ready_made()).await?;
    let vm = open::vm(&catalog, &args.vm).await?;
    let now = Timestamp::now();
    let done = catalog.protect(vm.id, &args.policy, now).await;
    done.map_err(|error| Problem::from(&error))?;
    let policy = catalog.policy(&args.policy).await;
    let policy = policy.map_err(|error| Problem::from(&error))?;
    let outlook = Outlook::new(policy.policy, policy.revision, &TimeZone::system(), now);
    let first = outlook
        .ok()
        .and_then(|outlook| outlook.window_after(now, None, None, now));
    let result = json!({
        "vm": vm.name, "policy": args.policy, "vault": vm.vault,
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
            vm.name, args.policy, vm.vault
        )
    };
    let printed = session.output.result("protected", &result, text);
    printed.map_err(print_problem)
}

pub(super) async fn unprotect(args: UnprotectArgs, session: &Session) -> Result<(), Problem> {
    let catalog = session.catalog().await?;
    let vm = open::vm(&catalog, &args.vm).await?;
    let stopped = catalog.stop_protection(vm.id, Timestamp::now()).await;
    stopped.map_err(|error| Problem::from(&error))?;
    let result = json!({ "vm": vm.name });
    let text = || {
        format!(
            "VM {} is backed up no more; its recovery points stay as they are. `tresor protect {0}` goes on.",
            vm.name
        )
    };
    let printed = session.output.result("unprotected", &result, text);
    printed.map_err(print_problem)
}
