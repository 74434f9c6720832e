//! What every handler has.

use std::{
    sync::{Arc, atomic::AtomicI64},
    time::Duration,
};

use jiff::tz::TimeZone;
use tokio::sync::Notify;
use tresor_catalog::Catalog;
use tresor_service::Vitals;

use crate::{
    Access, Enrol, LoginAccess, Logins,
    events::Events,
    metrics::Requests,
    outlooks::Outlooks,
    rate::{Buckets, RateLimit},
};

/// How the API works.
#[derive(Debug, Clone)]
pub struct ApiOptions {
    /// The zone of schedules that name none.
    pub zone: TimeZone,
    /// How long an answer may take.
    pub answer_limit: Duration,
    /// Requests at once, of one principal.
    pub burst: u32,
    /// Requests a second in the long run, of one principal.
    pub per_second: u32,
    /// Whether the page's cookie is only sent over TLS.
    pub secure_cookie: bool,
    /// How often the catalog is asked what has changed while somebody listens.
    pub poll: Duration,
}

impl Default for ApiOptions {
    fn default() -> Self {
        Self {
            zone: TimeZone::system(),
            answer_limit: Duration::from_secs(30),
            burst: 200,
            per_second: 50,
            secure_cookie: true,
            poll: Duration::from_secs(1),
        }
    }
}

/// What the API works with. Cheap to clone.
#[derive(Clone)]
pub struct ApiState {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) changed: Arc<Notify>,
    pub(crate) access: Arc<dyn Access>,
    pub(crate) logins: Option<Arc<Logins>>,
    pub(crate) options: Arc<ApiOptions>,
    pub(crate) outlooks: Arc<Outlooks>,
    pub(crate) buckets: Arc<Buckets>,
    pub(crate) events: Arc<Events>,
    pub(crate) requests: Arc<Requests>,
    pub(crate) vitals: Arc<Vitals>,
    /// `None`: there is no certificate authority here.
    pub(crate) enrol: Option<Arc<dyn Enrol>>,
    /// When old idempotency keys were forgotten last, in seconds since 1970.
    pub(crate) forgotten_at: Arc<AtomicI64>,
}

impl ApiState {
    /// `changed` is told after each change of what is protected.
    #[must_use]
    pub fn new(
        catalog: Arc<Catalog>,
        changed: Arc<Notify>,
        access: Arc<dyn Access>,
        options: ApiOptions,
    ) -> Self {
        let limit = RateLimit {
            burst: options.burst,
            per_second: options.per_second,
        };
        let outlooks = Arc::new(Outlooks::new(Arc::clone(&catalog), options.zone.clone()));
        let events = Events::new(Arc::clone(&catalog), Arc::clone(&outlooks), options.poll);
        Self {
            catalog,
            changed,
            access,
            logins: None,
            options: Arc::new(options),
            outlooks,
            buckets: Arc::new(Buckets::new(limit)),
            events: Arc::new(events),
            requests: Arc::default(),
            vitals: Arc::default(),
            enrol: None,
            forgotten_at: Arc::default(),
        }
    }

    /// With what the service of this process says of itself.
    #[must_use]
    pub fn with_vitals(self, vitals: Arc<Vitals>) -> Self {
        Self { vitals, ..self }
    }

    /// With an identity provider: people log in there, and its ID tokens are bearer tokens.
    #[must_use]
    pub fn with_logins(self, logins: Arc<Logins>) -> Self {
        let access = LoginAccess::new(Arc::clone(&logins), self.access);
        Self {
            access: Arc::new(access),
            logins: Some(logins),
            ..self
        }
    }

    /// With what lets hosts in.
    #[must_use]
    pub fn with_enrolment(self, enrol: Arc<dyn Enrol>) -> Self {
        Self {
            enrol: Some(enrol),
            ..self
        }
    }
}
