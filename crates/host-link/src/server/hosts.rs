//! What each method of VMs and of the host itself does, up to its answer.

use jiff::Timestamp;
use tresor_catalog::{CatalogError, CatalogErrorKind, Datasource, Object, PointRecord, VmRecord};
use tresor_channel::BodyReader;
use tresor_host::{keep_found, known_on};
use tresor_model::{MachineDefinition, RecoveryPoint, VaultId, VmId};
use tresor_problem::Kind;

use super::answer::Answer;
use super::{Inner, Stop};
use crate::rules::{Whose, Why};
use crate::wire::{self, Malformed};

/// Most bytes of a path on a host.
const PATH: usize = 4096;

impl Inner {
    /// Whose VM was found, if any.
    pub(super) fn whose(&self, found: Result<VmRecord, CatalogError>) -> Result<Whose, Stop> {
        match found {
            Ok(vm) => Ok(Whose::of(Some(&vm), self.host)),
            Err(error) if is_missing(&error) => Ok(Whose::Nobodys),
            Err(error) => Err(error.into()),
        }
    }

    /// Whose a name is. A vault's is another's.
    pub(super) async fn whose_name(&self, name: &str) -> Result<Whose, Stop> {
        match self.whose(self.catalog.vm(name).await)? {
            Whose::Nobodys => {}
            whose => return Ok(whose),
        }
        let vaults = self.catalog.vaults().await?;
        match vaults.iter().any(|vault| vault.name == name) {
            true => Ok(Whose::Others),
            false => Ok(Whose::Nobodys),
        }
    }

    /// A VM of the host. Another's is not there, as far as the host can tell.
    fn own_vm(
        &self,
        found: Result<VmRecord, CatalogError>,
        name: &impl ToString,
    ) -> Result<VmRecord, Stop> {
        let missing = || {
            Kind::VmNotFound {
                vm: name.to_string(),
            }
            .into()
        };
        match found {
            Ok(vm) if vm.host == Some(self.host) => Ok(vm),
            Ok(_) => Err(missing()),
            Err(error) if is_missing(&error) => Err(missing()),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) async fn alive(&self, head: &wire::Alive) -> Result<Answer<'_>, Stop> {
        let now = Timestamp::now();
        let (version, capabilities) = (&head.version, &head.capabilities);
        self.catalog
            .touch_host(self.host, now, version, capabilities)
            .await?;
        let version = self.version.clone();
        Answer::head(&wire::AliveAnswer { version, now })
    }

    pub(super) async fn vm(&self, vm: VmId) -> Result<Answer<'_>, Stop> {
        let room = self.room(wire::MACHINE).await?;
        let found = self.own_vm(self.catalog.vm_by_id(vm).await, &vm)?;
        Answer::document(&wire::Vm::from(found), room)
    }

    pub(super) async fn note_machine(
        &self,
        vm: &str,
        body: BodyReader,
    ) -> Result<Answer<'_>, Stop> {
        let (body, _room) = self.receive(body, wire::MACHINE).await?;
        let machine: MachineDefinition = wire::read(&body)?;
        let found = self.own_vm(self.catalog.vm(vm).await, &vm)?;
        self.catalog.set_vm_machine(&found.name, &machine).await?;
        Answer::done()
    }

    pub(super) async fn note_point(
        &self,
        vault: VaultId,
        body: BodyReader,
    ) -> Result<Answer<'_>, Stop> {
        let (body, _room) = self.receive(body, wire::MACHINE).await?;
        let point: RecoveryPoint = wire::read(&body)?;
        self.own_vm(self.catalog.vm_by_id(point.vm).await, &point.vm)?;
        let vaults = self.catalog.vaults().await?;
        if !vaults.iter().any(|known| known.id == vault) {
            let location = vault.to_string();
            return Err(Kind::VaultNotFound { location }.into());
        }
        let there = self.catalog.point_in(vault, point.id).await?;
        if there.is_some_and(|there| there.vm != point.vm) {
            return Err(Stop::refused(Why::Point, &point.id));
        }
        let record = PointRecord::of(&point, vault);
        self.catalog.upsert_point(&record).await?;
        Answer::done()
    }

    pub(super) async fn known(&self, after: Option<VmId>) -> Result<Answer<'_>, Stop> {
        let room = self.room(wire::PAGE).await?;
        let mut known = known_on(&self.catalog, Some(self.host)).await?;
        // One that is registered as well as found is as it is registered, as in `Discovery::new`.
        known.reverse();
        known.sort_by_key(|found| found.vm);
        known.dedup_by_key(|found| found.vm);
        let rest = known.into_iter().filter(|found| Some(found.vm) > after);
        Answer::page(wire::page_of(rest.map(wire::Found::from))?, room)
    }

    pub(super) async fn report(
        &self,
        head: &wire::Report,
        body: BodyReader,
    ) -> Result<Answer<'_>, Stop> {
        let (body, _room) = self.receive(body, wire::REPORT).await?;
        let found: Vec<wire::Found> = wire::read(&body)?;
        if found.len() != head.entries as usize || found.len() > wire::FOUND {
            let text = format!(
                "a report has as many entries as it says, and at most {}",
                wire::FOUND
            );
            return Err(Malformed(text).into());
        }
        found.iter().try_for_each(bounded)?;
        let found: Vec<Datasource> = found.into_iter().map(Datasource::from).collect();
        keep_found(&self.catalog, Some(self.host), &found).await?;
        Answer::done()
    }
}

fn is_missing(error: &CatalogError) -> bool {
    error.kind == CatalogErrorKind::NotFound(Object::Vm)
}

fn bounded(found: &wire::Found) -> Result<(), Malformed> {
    let texts = [&found.name, &found.state];
    let paths = [Some(&found.qmp_socket), found.agent_socket.as_ref()];
    let mut paths = paths.into_iter().flatten();
    let short = texts.iter().all(|text| text.len() <= wire::TEXT)
        && paths.all(|path| path.as_os_str().len() <= PATH);
    match short {
        true => Ok(()),
        false => Err(Malformed(
            "a VM's name, state or socket is too long".to_owned(),
        )),
    }
}
