//! The service's process: its loops, from start to end.

use std::{sync::Arc, time::Duration};

use jiff::tz::TimeZone;
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
};
use tresor_catalog::Catalog;
use tresor_host::{HostRole, LocalRegistry, RoleOptions, StateDir, Stop};
use tresor_model::HostId;
use tresor_policy::Policy;
use tresor_problem::Problem;
use tresor_schedule::Limits;

use crate::{
    Sending, Vitals, discovering,
    scheduling::{Outside, Scheduling},
    telling::beat,
};

/// The lane of the machine that the service runs on; where several share a catalog, of all of them: each
/// has a lane of its own for what lies on it.
pub const LOCAL_LANE: &str = "local";

/// How the service works.
#[derive(Debug, Clone)]
pub struct ServiceOptions {
    /// What this process is called among several on one catalog.
    pub name: String,
    /// The zone of schedules that name none.
    pub zone: TimeZone,
    /// What hosts and vaults bear where policies say nothing.
    pub limits: Limits,
    /// How long a process that may not schedule waits before it asks again.
    pub lease_pause: Duration,
    /// Where QMP sockets of this machine's VMs may be: paths with `*` and `?`.
    pub discover: Vec<String>,
    /// Which of several machines on one catalog this one is; `None`: it has a catalog of its own.
    pub host: Option<HostId>,
    /// What is called while this process schedules: silence says that it is dead.
    pub heartbeat: Option<String>,
    /// How often it is called.
    pub heartbeat_every: Duration,
    /// Whether the database is backed up into each vault, daily.
    pub database_backup: bool,
    /// How the embedded host role works.
    pub role: RoleOptions,
}

impl ServiceOptions {
    /// The usual ones.
    #[must_use]
    pub fn new(name: &str, host: Option<HostId>) -> Self {
        let role = match host {
            None => RoleOptions::new(LOCAL_LANE),
            Some(host) => RoleOptions {
                shared_lane: Some(LOCAL_LANE.to_owned()),
                ..RoleOptions::new(&host.to_string())
            },
        };
        Self {
            name: name.to_owned(),
            zone: TimeZone::system(),
            limits: Limits::default(),
            lease_pause: Duration::from_secs(5),
            discover: Vec::new(),
            host,
            heartbeat: None,
            heartbeat_every: Duration::from_secs(60),
            database_backup: true,
            role,
        }
    }
}

/// The service.
pub struct Service {
    catalog: Arc<Catalog>,
    state: StateDir,
    options: ServiceOptions,
    changed: Arc<Notify>,
    vitals: Arc<Vitals>,
}

impl Service {
    /// A service that has not begun. The ready-made policies are there afterwards.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn new(
        catalog: Arc<Catalog>,
        state: StateDir,
        options: ServiceOptions,
    ) -> Result<Self, Problem> {
        crate::policies::make_ready(&catalog, &Policy::ready_made()).await?;
        Ok(Self {
            catalog,
            state,
            options,
            changed: Arc::default(),
            vitals: Arc::default(),
        })
    }

    /// What this process says of itself while it works.
    #[must_use]
    pub fn vitals(&self) -> Arc<Vitals> {
        Arc::clone(&self.vitals)
    }

    /// To be told when somebody has changed what is protected, so that it counts at once.
    #[must_use]
    pub fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.changed)
    }

    /// Works until it is told to stop: schedules, and runs what is to be done on this machine.
    pub async fn run(self, stop: Stop) {
        let discovers = tokio::spawn(discovering::run(
            Arc::clone(&self.catalog),
            self.state.clone(),
            self.options.clone(),
            stop.drain.child_token(),
        ));
        let (pulse, pulses) = watch::channel(None);
        let mut tells = JoinSet::new();
        if let Some(url) = self.options.heartbeat.clone() {
            tells.spawn(beat(url, pulses, stop.drain.child_token()));
        }
        match Sending::new(Arc::clone(&self.catalog), self.options.zone.clone()) {
            Ok(sending) => {
                tells.spawn(sending.run(stop.drain.child_token()));
            }
            Err(error) => tracing::error!(%error, "nobody will be told of anything"),
        }
        let registry = LocalRegistry::new(Arc::clone(&self.catalog), self.state.clone());
        let role = HostRole::new(
            Arc::clone(&self.catalog) as _,
            Arc::new(registry),
            self.state,
            self.options.role.clone(),
        );
        let outside = Outside {
            changed: self.changed,
            vitals: self.vitals,
            pulse,
        };
        let scheduling = Scheduling::new(self.catalog, self.options, outside);
        let schedules = tokio::spawn(scheduling.run(stop.drain.child_token()));
        Arc::new(role).run(&stop).await;
        stop.drain.cancel();
        for (what, ended) in [
            ("scheduling", schedules.await),
            ("discovery", discovers.await),
        ] {
            if let Err(error) = ended {
                tracing::error!(%error, what, "a loop panicked");
            }
        }
        while let Some(ended) = tells.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "telling panicked");
            }
        }
    }
}
