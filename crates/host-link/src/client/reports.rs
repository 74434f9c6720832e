//! What the host tells of itself.

use jiff::Timestamp;
use serde_json::Value;
use tresor_catalog::Datasource;
use tresor_problem::Problem;

use super::once::Asked;
use super::registry::away;
use super::{Caller, Connections, Options};
use crate::wire;

/// Most bytes of a page that are taken.
const PAGE: usize = 4 << 20;

/// Tells the service what is on this host.
#[derive(Debug, Clone)]
pub struct Reports {
    caller: Caller,
}

impl Reports {
    /// Reports over whatever connection there is.
    #[must_use]
    pub const fn new(connections: Connections, options: Options) -> Self {
        let caller = Caller::new(connections, options);
        Self { caller }
    }

    /// A sign of life. The service's clock, for whoever compares.
    ///
    /// # Errors
    /// What reaching the service says.
    pub async fn alive(&self, version: &str, capabilities: &Value) -> Result<Timestamp, Problem> {
        let head = wire::Alive {
            version: version.to_owned(),
            capabilities: capabilities.clone(),
        };
        let parts = self.caller.ask(Asked::new("host.alive", &head)).await?;
        let answer = parts.head::<wire::AliveAnswer>();
        Ok(answer.map_err(|trouble| away(&trouble))?.now)
    }

    /// The VMs that were found on this host before, and those that are registered on it.
    ///
    /// # Errors
    /// What reaching the service says.
    pub async fn known(&self) -> Result<Vec<Datasource>, Problem> {
        let mut known: Vec<Datasource> = Vec::new();
        loop {
            let after = known.last().map(|found| found.vm);
            let asked = Asked::new("host.known", &wire::Known { after });
            let parts = self
                .caller
                .ask(asked.map(|asked| asked.taking(PAGE)))
                .await?;
            let failed = |trouble| away(&trouble);
            let more = parts.head::<wire::More>().map_err(failed)?.more;
            let page: Vec<wire::Found> = parts.body().map_err(failed)?;
            let more = more && !page.is_empty();
            known.extend(page.into_iter().map(Datasource::from));
            if !more {
                return Ok(known);
            }
        }
    }

    /// All VMs that are on this host now: what was there before and is not among them is gone.
    ///
    /// # Errors
    /// What reaching the service says.
    pub async fn report(&self, found: &[Datasource]) -> Result<(), Problem> {
        let mut found: Vec<_> = found.iter().cloned().map(wire::Found::from).collect();
        let entries = u32::try_from(found.len()).unwrap_or(u32::MAX);
        let encode = |found: &[wire::Found]| {
            let asked = Asked::new("host.report", &wire::Report { entries });
            asked.and_then(|asked| asked.with(&found))
        };
        let mut asked = encode(&found);
        if asked
            .as_ref()
            .is_ok_and(|asked| asked.body_len() > wire::REPORT)
        {
            // What a machine was when it was seen last stays noted.
            found.iter_mut().for_each(|found| found.machine = None);
            asked = encode(&found);
        }
        self.caller.ask(asked).await.map(drop)
    }
}
