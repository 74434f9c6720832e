//! Policies.

use http::Method;
use tresor_api_types::{PageQuery, PolicyView};
use tresor_policy::Policy;
use tresor_problem::Problem;

use crate::{Client, Pages, client::Call, encode::path};

impl Client {
    /// Policies, by name.
    #[must_use]
    pub fn policies(&self, asked: &PageQuery) -> Pages<PolicyView> {
        Pages::new(self, &["policies"], asked)
    }

    /// A policy.
    ///
    /// # Errors
    /// `ObjectNotFound`, and whatever keeps the service from answering.
    pub async fn policy(&self, name: &str) -> Result<PolicyView, Problem> {
        self.read(Call::get(path(&["policies", name]))).await
    }

    /// Adds a policy, or replaces that revision of the one that is there.
    ///
    /// # Errors
    /// `PolicyInvalid`, `ObjectChanged` when it is another revision by now, `RevisionNeeded` when there is one
    /// and none was said, and whatever keeps the service from answering.
    pub async fn set_policy(
        &self,
        policy: &Policy,
        revision: Option<u64>,
    ) -> Result<PolicyView, Problem> {
        let mut call = Call::change(Method::PUT, path(&["policies", &policy.name])).body(policy);
        if let Some(revision) = revision {
            call = call.header("if-match", &format!("\"{revision}\""), false);
        }
        self.read(call).await
    }

    /// Forgets a policy that no protected item has.
    ///
    /// # Errors
    /// `ObjectInUse`, `ObjectNotFound`, and whatever keeps the service from answering.
    pub async fn remove_policy(&self, name: &str) -> Result<(), Problem> {
        self.done(Call::change(Method::DELETE, path(&["policies", name])))
            .await
    }
}
