//! What the host role is told of its VMs, and what it tells.

use std::num::NonZeroU64;
use std::sync::Arc;

use async_trait::async_trait;
use tresor_catalog::VmRecord;
use tresor_host::Registry;
use tresor_model::{MachineDefinition, RecoveryPoint, VaultId, VmId};
use tresor_problem::Problem;
use tresor_vault::Vault;

use super::once::{Asked, Trouble};
use super::{Caller, Connections, Options};
use crate::wire;

/// Opens the host's vaults. Whoever composes the program knows the ways to them.
#[async_trait]
pub trait Vaults: Send + Sync {
    /// A vault by its name at the service, for a backup that stores at most so many bytes per second.
    ///
    /// # Errors
    /// What opening a vault says.
    async fn open(&self, name: &str, upload_limit: Option<NonZeroU64>) -> Result<Vault, Problem>;
}

/// The service's registry, as far as it is about this host.
#[derive(Clone)]
pub struct RemoteRegistry {
    caller: Caller,
    vaults: Arc<dyn Vaults>,
}

impl RemoteRegistry {
    /// A registry that is reached over whatever connection there is.
    #[must_use]
    pub fn new(connections: Connections, options: Options, vaults: Arc<dyn Vaults>) -> Self {
        let caller = Caller::new(connections, options);
        Self { caller, vaults }
    }
}

#[async_trait]
impl Registry for RemoteRegistry {
    async fn vm(&self, vm: VmId) -> Result<VmRecord, Problem> {
        let asked = Asked::new("host.vm", &wire::VmOf { vm });
        let asked = asked.map(|asked| asked.taking(2 * wire::MACHINE));
        let parts = self.caller.ask(asked).await?;
        let found: wire::Vm = parts.body().map_err(|trouble| away(&trouble))?;
        Ok(found.into())
    }

    async fn vault(&self, name: &str, upload_limit: Option<NonZeroU64>) -> Result<Vault, Problem> {
        self.vaults.open(name, upload_limit).await
    }

    async fn note_machine(&self, vm: &str, machine: &MachineDefinition) -> Result<(), Problem> {
        let vm = vm.to_owned();
        let asked = Asked::new("host.note-machine", &wire::NoteMachine { vm });
        let asked = asked.and_then(|asked| asked.with(machine));
        self.caller.ask(asked).await.map(drop)
    }

    async fn note_point(&self, vault: VaultId, point: &RecoveryPoint) -> Result<(), Problem> {
        let asked = Asked::new("host.note-point", &wire::NotePoint { vault });
        let asked = asked.and_then(|asked| asked.with(point));
        self.caller.ask(asked).await.map(drop)
    }
}

impl Caller {
    /// A call whose failure is a problem.
    pub(super) async fn ask(
        &self,
        asked: Result<Asked, Trouble>,
    ) -> Result<super::once::Parts, Problem> {
        let asked = asked.map_err(|trouble| away(&trouble))?;
        let reached = self.call(&asked).await.map_err(|trouble| away(&trouble))?;
        let answered = reached.answered;
        answered.map_err(|failure| wire::problem_of(&failure))
    }
}

/// What a call that was not answered is for the user.
pub(super) fn away(trouble: &Trouble) -> Problem {
    let kind = tresor_problem::Kind::ServiceUnreachable {
        server: super::PLACE.to_owned(),
        reason: trouble.to_string(),
    };
    Problem::caused_by(kind, trouble)
}
