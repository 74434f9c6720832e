//! Where the catalog is: in the state directory, or in a database that several machines share.

use std::{os::unix::fs::MetadataExt as _, path::Path};

use tresor_catalog::{Catalog, DatabaseUrl};
use tresor_host::{StateDir, usage};
use tresor_problem::Problem;

use crate::args::DatabaseArgs;

/// Opens the catalog, or makes it.
pub(crate) async fn open(args: &DatabaseArgs, state: &StateDir) -> Result<Catalog, Problem> {
    let Some(url) = url(args)? else {
        return state.catalog().await;
    };
    let opened = Catalog::open_shared(&url).await;
    opened.map_err(|error| Problem::from(&error))
}

fn url(args: &DatabaseArgs) -> Result<Option<DatabaseUrl>, Problem> {
    let (text, origin) = match (&args.database, &args.database_file) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => {
            return Err(usage(
                "The database was given twice, as a URL and as a file with it: give one of them.",
            ));
        }
        (Some(url), None) => (url.clone(), "The URL of the database".to_owned()),
        (None, Some(path)) => (read(path)?, format!("The URL in {}", path.display())),
    };
    // The text is not repeated: it may hold a password.
    let url = text.trim().parse::<DatabaseUrl>();
    let url = url.map_err(|error| usage(&format!("{origin} cannot be used: {error}.")))?;
    Ok(Some(url))
}

/// The file's text. It may hold a password, so others must not be able to read it.
fn read(path: &Path) -> Result<String, Problem> {
    let shown = path.display();
    let unreadable = |error| usage(&format!("The file {shown} cannot be read: {error}."));
    let meta = std::fs::metadata(path).map_err(unreadable)?;
    if meta.mode() & 0o077 != 0 {
        return Err(usage(&format!(
            "The file {shown} may hold a password, and others can read it: `chmod 600 {shown}`."
        )));
    }
    std::fs::read_to_string(path).map_err(unreadable)
}
