//! Hosts.

use http::Method;
use tresor_api_types::{HostView, MadeEnrolment, NewEnrolment, PageQuery};
use tresor_model::HostId;
use tresor_problem::Problem;

use crate::{Client, Pages, client::Call, encode::path};

impl Client {
    /// Hosts, by name.
    #[must_use]
    pub fn hosts(&self, asked: &PageQuery) -> Pages<HostView> {
        Pages::new(self, &["hosts"], asked)
    }

    /// Makes a token by which one host can enrol. It is asked for once: it is kept nowhere.
    ///
    /// # Errors
    /// `UsageError` for a name that no host can have, and whatever keeps the service from answering.
    pub async fn make_enrolment(&self, asked: &NewEnrolment) -> Result<MadeEnrolment, Problem> {
        let call = Call::once(Method::POST, path(&["hosts", "tokens"]));
        self.read(call.body(asked)).await
    }

    /// Lets a host in no more.
    ///
    /// # Errors
    /// `ObjectNotFound`, and whatever keeps the service from answering.
    pub async fn revoke_host(&self, host: HostId) -> Result<HostView, Problem> {
        let path = path(&["hosts", &host.to_string(), "revoke"]);
        self.read(Call::change(Method::POST, path)).await
    }

    /// Forgets a host that has no VMs any more.
    ///
    /// # Errors
    /// `ObjectInUse`, `ObjectNotFound`, and whatever keeps the service from answering.
    pub async fn remove_host(&self, host: HostId) -> Result<(), Problem> {
        let path = path(&["hosts", &host.to_string()]);
        self.done(Call::change(Method::DELETE, path)).await
    }
}
