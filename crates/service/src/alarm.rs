//! Alerts: problems that somebody should look at, one for each kind of problem of an item.

use jiff::Timestamp;
use tresor_catalog::Catalog;
use tresor_problem::Problem;

/// An item has a problem that will not pass by itself.
pub(crate) async fn raise(catalog: &Catalog, subject: &str, problem: &Problem) {
    if let Err(error) = catalog.raise(subject, problem, Timestamp::now()).await {
        tracing::warn!(subject, %error, "an alert could not be kept");
    }
}

/// An item has none any more.
pub(crate) async fn quiet(catalog: &Catalog, subject: &str) {
    if let Err(error) = catalog.resolve(subject, None, Timestamp::now()).await {
        tracing::warn!(subject, %error, "an alert could not be closed");
    }
}
