//! The policies that are there from the start.

use jiff::Timestamp;
use tresor_catalog::{Catalog, CatalogErrorKind, Page};
use tresor_policy::Policy;
use tresor_problem::Problem;

/// Makes ready-made policies in a catalog that has none at all: one that was removed stays so.
///
/// # Errors
/// What the catalog says.
pub async fn make_ready(catalog: &Catalog, policies: &[Policy]) -> Result<(), Problem> {
    let there = catalog.policies(&Page::first(1)).await;
    if !there.map_err(|error| Problem::from(&error))?.is_empty() {
        return Ok(());
    }
    for policy in policies {
        match catalog.add_policy(policy, Timestamp::now()).await {
            // Another process was faster.
            Err(error) if matches!(error.kind, CatalogErrorKind::AlreadyExists(_)) => {}
            added => {
                added.map_err(|error| Problem::from(&error))?;
            }
        }
    }
    Ok(())
}
