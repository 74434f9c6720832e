//! Protected items.

use http::Method;
use tresor_api_types::{ItemQuery, ItemView, JobView, Protect};
use tresor_model::VmId;
use tresor_problem::Problem;

use crate::{Client, Pages, client::Call, encode::path};

impl Client {
    /// Protected items, by VM.
    #[must_use]
    pub fn items(&self, asked: &ItemQuery) -> Pages<ItemView> {
        Pages::new(self, &["items"], asked)
    }

    /// A protected item.
    ///
    /// # Errors
    /// `ObjectNotFound`, and whatever keeps the service from answering.
    pub async fn item(&self, vm: VmId) -> Result<ItemView, Problem> {
        self.read(Call::get(path(&["items", &vm.to_string()])))
            .await
    }

    /// Protects a VM, or gives it another policy.
    ///
    /// # Errors
    /// `VmNotFound`, `ObjectNotFound` for the policy, and whatever keeps the service from answering.
    pub async fn protect(&self, vm: VmId, asked: &Protect) -> Result<ItemView, Problem> {
        let path = path(&["items", &vm.to_string()]);
        self.read(Call::change(Method::PUT, path).body(asked)).await
    }

    /// Makes no more backups of a VM.
    ///
    /// # Errors
    /// `ObjectNotFound`, and whatever keeps the service from answering.
    pub async fn stop_protection(&self, vm: VmId) -> Result<ItemView, Problem> {
        self.read(action(vm, "stop")).await
    }

    /// Makes backups of a VM again.
    ///
    /// # Errors
    /// As [`Client::stop_protection`].
    pub async fn resume_protection(&self, vm: VmId) -> Result<ItemView, Problem> {
        self.read(action(vm, "resume")).await
    }

    /// Makes no more backups of a VM, and deletes its recovery points: the job that does it.
    ///
    /// # Errors
    /// As [`Client::stop_protection`].
    pub async fn delete_data(&self, vm: VmId) -> Result<JobView, Problem> {
        self.read(action(vm, "delete-data")).await
    }

    /// Backs a VM up: the job that does it.
    ///
    /// # Errors
    /// `ProtectionStopped`, `VmBusy` when one waits already, and as [`Client::stop_protection`].
    pub async fn back_up(&self, vm: VmId) -> Result<JobView, Problem> {
        self.read(action(vm, "backup")).await
    }
}

fn action(vm: VmId, action: &str) -> Call {
    Call::change(Method::POST, path(&["items", &vm.to_string(), action]))
}
