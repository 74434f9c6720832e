//! Sends what waits, by every process of the service.
//!
//! # Invariants
//! - Who sends has claimed: no two processes send the same at one time.
//! - What was sent and could not be noted is sent again; nothing is forgotten before it was sent or given up.
//! - A channel that does not work holds up no other one.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;
use tresor_catalog::{
    Catalog, CatalogError, CatalogErrorKind, ChannelRecord, ChannelSecret, NotificationRecord,
};
use tresor_model::NotificationId;
use tresor_notify::{Event, EventKind, Message, SendError, Sender};
use tresor_problem::{Kind, Problem};

use super::{
    digest,
    teller::{CHANNEL, Teller, settings_of},
};

const LOOK_EVERY: Duration = Duration::from_secs(2);
const DIGEST_EVERY: Duration = Duration::from_secs(30);
/// Of one message; the rest goes with the next.
const TOGETHER: usize = 100;
const AT_ONCE: u32 = 500;
/// A mail server may take its time with each of its answers.
const SEND_LIMIT: Duration = Duration::from_secs(60);
/// Longer than sending can take.
const CLAIM: SignedDuration = SignedDuration::from_secs(120);
/// Some ten minutes: a server that is only restarted is no alert.
const ALERT_AFTER: u64 = 6;
/// Most of a day.
const MOST_TRIES: u64 = 30;
const KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);

/// The pause after so many tries: doubled, up to an hour.
fn pause_after(tries: u64) -> SignedDuration {
    let doubled = u32::try_from(tries.clamp(1, 10)).unwrap_or(10) - 1;
    SignedDuration::from_secs((10 << doubled).min(3600))
}

/// The loop.
pub struct Sending {
    catalog: Arc<Catalog>,
    sender: Sender,
    zone: TimeZone,
}

impl Sending {
    /// One that has sent nothing yet. Digests and quiet times are in `zone`.
    ///
    /// # Errors
    /// `Unfit` when this machine has no certificate authorities to go by.
    pub fn new(catalog: Arc<Catalog>, zone: TimeZone) -> Result<Arc<Self>, SendError> {
        let sender = Sender::new()?;
        Ok(Arc::new(Self {
            catalog,
            sender,
            zone,
        }))
    }

    /// Sends until it is told to stop.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut digest_at = Instant::now();
        loop {
            let now = Timestamp::now();
            if let Err(error) = self.send_due(now).await {
                tracing::warn!(%error, "notifications wait");
            }
            if Instant::now() >= digest_at {
                digest_at = Instant::now() + DIGEST_EVERY;
                if let Err(error) = self.look_after(now).await {
                    tracing::warn!(%error, "no summary can be made");
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    async fn look_after(&self, now: Timestamp) -> Result<(), CatalogError> {
        digest::add_due(&self.catalog, &self.zone, now).await?;
        let old = now.checked_sub(KEPT).unwrap_or(Timestamp::MIN);
        self.catalog.forget_sent_before(old).await.map(drop)
    }

    /// Sends what is due at `now`, channel by channel, all at once.
    ///
    /// # Errors
    /// What the catalog says. What could not be sent is none.
    pub async fn send_due(self: &Arc<Self>, now: Timestamp) -> Result<(), CatalogError> {
        let due = self.catalog.due_notifications(now, AT_ONCE).await?;
        let mut of_channels = BTreeMap::<String, Vec<NotificationRecord>>::new();
        for waits in due {
            let together = of_channels.entry(waits.channel.clone()).or_default();
            if together.len() < TOGETHER {
                together.push(waits);
            }
        }
        let mut sending = JoinSet::new();
        for (channel, waiting) in of_channels {
            let this = Arc::clone(self);
            sending.spawn(async move { this.send_together(&channel, waiting, now).await });
        }
        while let Some(sent) = sending.join_next().await {
            match sent {
                Ok(sent) => sent?,
                Err(error) => tracing::error!(%error, "sending panicked"),
            }
        }
        Ok(())
    }

    async fn send_together(
        &self,
        channel: &str,
        waiting: Vec<NotificationRecord>,
        now: Timestamp,
    ) -> Result<(), CatalogError> {
        let record = match self.catalog.channel(channel).await {
            Ok(record) => record,
            Err(error) if matches!(error.kind, CatalogErrorKind::NotFound(_)) => {
                return self.give_up(&waiting, now).await; // removed meanwhile
            }
            Err(error) => return Err(error),
        };
        let until = now.checked_add(CLAIM).unwrap_or(Timestamp::MAX);
        let mut claimed = Vec::new();
        for waits in waiting {
            if self.catalog.claim_notification(&waits, until).await? {
                claimed.push(waits);
            }
        }
        let events = claimed.iter().filter_map(event_of).collect();
        let Some(message) = Message::new(events) else {
            return self.give_up(&claimed, now).await;
        };
        match send(&self.sender, &record, &message).await {
            Ok(()) => self.note_sent(&record, &claimed).await,
            Err(error) => self.note_failed(&record, &claimed, &error).await,
        }
    }

    async fn note_sent(
        &self,
        channel: &ChannelRecord,
        sent: &[NotificationRecord],
    ) -> Result<(), CatalogError> {
        let now = Timestamp::now();
        for each in sent {
            self.catalog.note_sent(each.id, now).await?;
        }
        self.catalog.note_channel(&channel.name, now, None).await?;
        if channel.failing_since.is_some() {
            let teller = Teller::read(&self.catalog, &self.zone).await?;
            let subject = format!("{CHANNEL}{}", channel.name);
            let tell = |over: &[_]| teller.over(over, now);
            let over = self.catalog.resolve_telling(&subject, None, now, &tell);
            over.await?;
        }
        Ok(())
    }

    async fn note_failed(
        &self,
        channel: &ChannelRecord,
        failed: &[NotificationRecord],
        error: &SendError,
    ) -> Result<(), CatalogError> {
        let (now, name) = (Timestamp::now(), &channel.name);
        tracing::warn!(channel = name, %error, count = failed.len(), "notifications could not be sent");
        let text = error.to_string();
        self.catalog.note_channel(name, now, Some(&text)).await?;
        let mut most = 0;
        for each in failed {
            let tries = each.attempts.saturating_add(1);
            most = most.max(tries);
            if tries >= MOST_TRIES {
                self.give_up(std::slice::from_ref(each), now).await?;
                continue;
            }
            let later = now
                .checked_add(pause_after(tries))
                .unwrap_or(Timestamp::MAX);
            match self.catalog.note_send_failed(each.id, later).await {
                // Its channel was removed.
                Err(error) if matches!(error.kind, CatalogErrorKind::NotFound(_)) => {}
                noted => noted?,
            }
        }
        if most >= ALERT_AFTER {
            self.raise(name, error, now).await?;
        }
        Ok(())
    }

    async fn raise(
        &self,
        name: &str,
        error: &SendError,
        now: Timestamp,
    ) -> Result<(), CatalogError> {
        let teller = Teller::read(&self.catalog, &self.zone).await?;
        let teller = teller.without(name);
        let tell = |opened: &[_]| teller.opened(opened, EventKind::AlertOpened, now);
        let raised = [(format!("{CHANNEL}{name}"), problem(name, error))];
        let raised = self.catalog.raise_telling(&raised, now, &tell);
        raised.await.map(drop)
    }

    async fn give_up(
        &self,
        what: &[NotificationRecord],
        now: Timestamp,
    ) -> Result<(), CatalogError> {
        for each in what {
            tracing::error!(id = %each.id, channel = each.channel, body = %each.body, "a notification is given up");
            match self.catalog.note_given_up(each.id, now).await {
                Err(error) if matches!(error.kind, CatalogErrorKind::NotFound(_)) => {}
                noted => noted?,
            }
        }
        Ok(())
    }
}

fn event_of(waits: &NotificationRecord) -> Option<Event> {
    let event = serde_json::from_value(waits.body.clone());
    event
        .inspect_err(|error| tracing::error!(id = %waits.id, %error, "the event is not known"))
        .ok()
}

async fn send(
    sender: &Sender,
    channel: &ChannelRecord,
    message: &Message,
) -> Result<(), SendError> {
    let unfit = |reason: &str| SendError::Unfit {
        reason: reason.to_owned(),
    };
    let settings = settings_of(channel).ok_or_else(|| unfit("its settings are not known here"))?;
    let secret = channel.secret.as_ref().map(ChannelSecret::reveal);
    let sent = timeout(SEND_LIMIT, sender.send(&settings, secret, message));
    sent.await.map_err(|_| SendError::Unreachable {
        server: settings.place(),
        reason: "it took longer than a minute".to_owned(),
    })?
}

fn problem(channel: &str, error: &SendError) -> Problem {
    Kind::NotificationFailed {
        channel: channel.to_owned(),
        reason: error.to_string(),
    }
    .into()
}

/// Sends a test by a channel, at once and once.
///
/// # Errors
/// `NotificationFailed`; `ObjectNotFound`; what the catalog says.
pub async fn test_channel(catalog: &Catalog, name: &str) -> Result<(), Problem> {
    let channel = catalog.channel(name).await;
    let channel = channel.map_err(|error| Problem::from(&error))?;
    let now = Timestamp::now();
    let event = Event {
        id: NotificationId::generate(),
        at: now,
        kind: EventKind::Test,
        subject: name.to_owned(),
        problem: None,
        since: None,
        lines: vec!["Somebody tries whether this arrives. There is nothing to do.".to_owned()],
    };
    let sent = async {
        let message = Message::new(vec![event]);
        match message {
            Some(message) => send(&Sender::new()?, &channel, &message).await,
            None => Ok(()),
        }
    };
    sent.await.map_err(|error| problem(name, &error))?;
    let noted = catalog.note_channel(name, now, None).await;
    noted.map_err(|error| Problem::from(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_the_tries_last_most_of_a_day() {
        let pauses: Vec<_> = (1..MOST_TRIES)
            .map(|tries| pause_after(tries).as_secs())
            .collect();
        assert_eq!(pauses[..4], [10, 20, 40, 80]);
        assert!(pauses.is_sorted() && pauses.last() == Some(&3600));
        let total: i64 = pauses.iter().sum();
        assert!((12 * 3600..24 * 3600).contains(&total), "{total}");
        let to_alert: i64 = pauses.iter().take(5).sum();
        assert!((300..900).contains(&to_alert), "{to_alert}");
    }
}
