//! Vaults, and what can be done with one as a whole.

use http::Method;
use tresor_api_types::{Copy, JobView, PageQuery, VaultView, Verify};
use tresor_problem::Problem;

use crate::{Client, Pages, client::Call, encode::path};

impl Client {
    /// Vaults, by name.
    #[must_use]
    pub fn vaults(&self, asked: &PageQuery) -> Pages<VaultView> {
        Pages::new(self, &["vaults"], asked)
    }

    /// Reads a vault back, or a part of it: the job that does it.
    ///
    /// # Errors
    /// `VaultNotFound`, `RequestMalformed`, and whatever keeps the service from answering.
    pub async fn verify(&self, vault: &str, asked: &Verify) -> Result<JobView, Problem> {
        let call = Call::change(Method::POST, path(&["vaults", vault, "verify"]));
        self.read(call.body(asked)).await
    }

    /// Copies recovery points to another vault: the job that does it.
    ///
    /// # Errors
    /// As [`Client::verify`].
    pub async fn copy(&self, vault: &str, asked: &Copy) -> Result<JobView, Problem> {
        let call = Call::change(Method::POST, path(&["vaults", vault, "copy"]));
        self.read(call.body(asked)).await
    }

    /// Removes what retention does not keep: the job that does it.
    ///
    /// # Errors
    /// `NothingExpires`, and as [`Client::verify`].
    pub async fn expire(&self, vault: &str) -> Result<JobView, Problem> {
        let path = path(&["vaults", vault, "expire"]);
        self.read(Call::change(Method::POST, path)).await
    }

    /// Frees what no recovery point uses: the job that does it.
    ///
    /// # Errors
    /// As [`Client::verify`].
    pub async fn collect(&self, vault: &str) -> Result<JobView, Problem> {
        let path = path(&["vaults", vault, "collect"]);
        self.read(Call::change(Method::POST, path)).await
    }
}
