//! Letting hosts in: what the program has for that, and the API has not.

use std::time::Duration;

use async_trait::async_trait;
use tresor_problem::Problem;
use zeroize::Zeroizing;

/// Makes tokens by which hosts enrol: they name the service's certificate authority.
#[async_trait]
pub trait Enrol: Send + Sync {
    /// A token for one host of this name, once.
    ///
    /// # Errors
    /// `UsageError` for a name that no host can have; what the catalog says.
    async fn token(&self, name: &str, valid: Duration) -> Result<Zeroizing<String>, Problem>;
}
