//! `tresor vault unhide`: what somebody hid behind delete markers, and the store holds, is to be seen
//! again.

use serde::Serialize;
use tresor_problem::Problem;
use tresor_workflows::storage_problem;

use super::{
    doctor,
    open::{find_named, find_vault},
    session::{Session, print_problem},
};
use crate::{args::StoreArgs, output::note};

/// An object in the list.
#[derive(Serialize)]
struct Row {
    object: String,
    unhidden: bool,
}

pub(super) async fn run(
    session: &Session,
    named: Option<&str>,
    dry_run: bool,
    options: &StoreArgs,
) -> Result<(), Problem> {
    let catalog = session.catalog().await?;
    let place = match named {
        Some(named) => find_named(&catalog, named, options).await?,
        None => find_vault(&catalog, None, None).await?,
    };
    let location = place.location.to_string();
    let failed = |error| storage_problem(&error, &location);
    let store = place.location.object_store()?;
    let mut rows = Vec::new();
    for hidden in store.hidden().await.map_err(failed)? {
        // The doctor hides what it had held, until that is over.
        if hidden.name.as_str().starts_with(doctor::AREA) {
            continue;
        }
        if !dry_run {
            store.unhide(&hidden).await.map_err(failed)?;
        }
        rows.push(Row {
            object: hidden.name.to_string(),
            unhidden: !dry_run,
        });
    }
    if !rows.is_empty() {
        let what = if dry_run {
            "are hidden"
        } else {
            "were hidden and are back"
        };
        note(&format!(
            "{} objects that the store holds {what}: somebody with credentials for {location} tried to \
             remove them",
            rows.len()
        ));
    }
    session
        .output
        .list(
            "hidden_object",
            &["hidden object"],
            &rows,
            |row| vec![row.object.clone()],
            "nothing that the store holds is hidden",
        )
        .map_err(print_problem)
}
