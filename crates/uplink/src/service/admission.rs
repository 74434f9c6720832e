//! Whether a host is welcome: the catalog's word.

use std::sync::Arc;

use async_trait::async_trait;
use tresor_catalog::{Catalog, HostStanding};
use tresor_identity::{Roll, Serial, Standing};
use tresor_model::HostId;

/// The roll of hosts that the catalog has.
pub(super) struct CatalogRoll(pub(super) Arc<Catalog>);

#[async_trait]
impl Roll for CatalogRoll {
    async fn standing(
        &self,
        host: HostId,
        serial: &Serial,
    ) -> Result<Standing, Box<dyn std::error::Error + Send + Sync>> {
        Ok(
            match self.0.host_standing(host, &serial.to_string()).await? {
                HostStanding::Current => Standing::Enrolled,
                HostStanding::Replaced => Standing::Replaced,
                HostStanding::Revoked => Standing::Revoked,
                HostStanding::Unknown => Standing::Unknown,
            },
        )
    }
}
