//! Which channels are told of an event, and when.

use jiff::{Timestamp, civil::Time, tz::TimeZone};
use tresor_catalog::{AlertRecord, Catalog, CatalogError, ChannelRecord, NotificationRecord};
use tresor_model::NotificationId;
use tresor_notify::{Event, EventKind, Quiet, Settings};
use tresor_problem::Problem;

use crate::{alarm::LATE, vault_ends::is_of_vault};

/// The channels, as they were read.
pub(crate) struct Teller {
    channels: Vec<(String, Settings)>,
    zone: TimeZone,
}

impl Teller {
    /// Reads the channels.
    pub(crate) async fn read(catalog: &Catalog, zone: &TimeZone) -> Result<Self, CatalogError> {
        Ok(Self::new(catalog.channels().await?, zone))
    }

    fn new(records: Vec<ChannelRecord>, zone: &TimeZone) -> Self {
        let channels = records.into_iter().filter_map(|record| {
            let settings = settings_of(&record)?;
            Some((record.name, settings))
        });
        Self {
            channels: channels.collect(),
            zone: zone.clone(),
        }
    }

    /// The same without a channel: it is not told by itself that it does not work.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.channels.retain(|(channel, _)| channel != name);
        self
    }

    /// What is told of alerts that opened.
    pub(crate) fn opened(
        &self,
        alerts: &[AlertRecord],
        kind: EventKind,
        now: Timestamp,
    ) -> Vec<NotificationRecord> {
        let events = alerts.iter().map(|alert| event_of(alert, kind, now));
        events.flat_map(|event| self.tell(&event, now)).collect()
    }

    /// What is told of alerts that are over.
    pub(crate) fn over(&self, alerts: &[AlertRecord], now: Timestamp) -> Vec<NotificationRecord> {
        let events = alerts.iter().map(|alert| {
            let kind = match alert.problem.code.as_str() {
                LATE => EventKind::VmOnTime,
                "VmVanished" => EventKind::AlertResolved,
                _ if alert.subject.starts_with(CHANNEL) || is_of_vault(&alert.subject) => {
                    EventKind::AlertResolved
                }
                _ => EventKind::BackupRecovered,
            };
            event_of(alert, kind, now)
        });
        events.flat_map(|event| self.tell(&event, now)).collect()
    }

    /// A notification for each channel that wants it.
    fn tell(&self, event: &Event, now: Timestamp) -> Vec<NotificationRecord> {
        let wants =
            |settings: &Settings| settings.only.is_empty() || settings.only.contains(&event.kind);
        let channels = self.channels.iter().filter(|(_, settings)| wants(settings));
        let told = channels.filter_map(|(name, settings)| {
            let not_before = after_quiet(settings.quiet, &self.zone, now);
            notification(name, event.clone(), not_before)
        });
        told.collect()
    }
}

/// In front of a channel's name, as the subject of an alert.
pub(crate) const CHANNEL: &str = "channel:";

/// A channel's settings, if this release understands them.
pub(crate) fn settings_of(record: &ChannelRecord) -> Option<Settings> {
    match serde_json::from_value(record.settings.clone()) {
        Ok(settings) => Some(settings),
        Err(error) => {
            tracing::error!(channel = record.name, %error, "the channel's settings are not known");
            None
        }
    }
}

/// An event as it waits for a channel.
pub(crate) fn notification(
    channel: &str,
    mut event: Event,
    not_before: Timestamp,
) -> Option<NotificationRecord> {
    let id = NotificationId::generate();
    event.id = id;
    let body = serde_json::to_value(&event);
    // Strings, numbers and lists of them: nothing that JSON refuses.
    let body = body.inspect_err(|error| tracing::error!(%error, "an event has no JSON"));
    Some(NotificationRecord {
        id,
        at: event.at,
        channel: channel.to_owned(),
        body: body.ok()?,
        attempts: 0,
        not_before,
        sent_at: None,
        given_up_at: None,
    })
}

fn event_of(alert: &AlertRecord, kind: EventKind, now: Timestamp) -> Event {
    let problem = Problem {
        // For the operator, who has the log.
        detail: Vec::new(),
        ..alert.problem.clone()
    };
    Event {
        id: NotificationId::generate(),
        at: now,
        kind,
        subject: alert.subject.clone(),
        problem: Some(problem),
        since: Some(alert.since),
        lines: Vec::new(),
    }
}

/// When something may be sent: now, or when the quiet time is over.
fn after_quiet(quiet: Option<Quiet>, zone: &TimeZone, now: Timestamp) -> Timestamp {
    let Some(Quiet { from, until }) = quiet else {
        return now;
    };
    let here = now.to_zoned(zone.clone());
    let time: Time = here.time();
    let over_midnight = until < from;
    let is_quiet = match over_midnight {
        false => from <= time && time < until,
        true => from <= time || time < until,
    };
    if !is_quiet {
        return now;
    }
    let day = match over_midnight && time >= from {
        true => here.date().tomorrow().unwrap_or(here.date()),
        false => here.date(),
    };
    let end = day.to_datetime(until).to_zoned(zone.clone());
    end.map_or(now, |end| end.timestamp().max(now))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tresor_model::AlertId;
    use tresor_problem::Kind;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_table_of_quiet_times() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        let quiet = |from: &str, until: &str| {
            Some(Quiet {
                from: from.parse().unwrap(),
                until: until.parse().unwrap(),
            })
        };
        let night = quiet("22:00", "07:00");
        let cases = [
            (None, "2026-03-02T03:00:00Z", "2026-03-02T03:00:00Z"),
            // 04:00 in Berlin: until seven there.
            (night, "2026-03-02T03:00:00Z", "2026-03-02T06:00:00Z"),
            // 22:30: until the next day.
            (night, "2026-03-02T21:30:00Z", "2026-03-03T06:00:00Z"),
            (night, "2026-03-02T06:00:00Z", "2026-03-02T06:00:00Z"),
            (night, "2026-03-02T20:59:59Z", "2026-03-02T20:59:59Z"),
            (
                quiet("12:00", "13:00"),
                "2026-03-02T11:30:00Z",
                "2026-03-02T12:00:00Z",
            ),
            // The clocks are put forward at two: seven is six in UTC before, and five after.
            (night, "2026-03-28T23:00:00Z", "2026-03-29T05:00:00Z"),
        ];
        for (quiet, now, expected) in cases {
            assert_eq!(
                after_quiet(quiet, &berlin, at(now)),
                at(expected),
                "{quiet:?} {now}"
            );
        }
    }

    fn channel(name: &str, more: &Value) -> ChannelRecord {
        let mut settings = json!({"way": {"webhook": {"url": "https://example.org"}}});
        settings
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        ChannelRecord {
            name: name.to_owned(),
            settings,
            secret: None,
            created_at: Timestamp::UNIX_EPOCH,
            last_sent_at: None,
            failing_since: None,
            failure: None,
            digest_at: None,
        }
    }

    fn alert(subject: &str, kind: Kind) -> AlertRecord {
        let mut problem = Problem::from(kind);
        problem.detail.push("hush".to_owned());
        AlertRecord {
            id: AlertId::generate(),
            subject: subject.to_owned(),
            problem,
            since: Timestamp::UNIX_EPOCH,
            last_seen_at: Timestamp::UNIX_EPOCH,
            count: 1,
            resolved_at: None,
        }
    }

    #[test]
    fn each_channel_is_told_what_it_wants() {
        let channels = vec![
            channel("all", &json!({})),
            channel("late", &json!({"only": ["vm_late", "vm_on_time"]})),
            channel("newer", &json!({"unheard": "of"})),
        ];
        let teller = Teller::new(channels, &TimeZone::UTC);
        let now = at("2026-03-02T03:00:00Z");
        let gone = alert(
            "web01",
            Kind::VmNotFound {
                vm: "web01".to_owned(),
            },
        );
        let told = teller.opened(std::slice::from_ref(&gone), EventKind::BackupFailed, now);
        let names: Vec<_> = told.iter().map(|told| told.channel.as_str()).collect();
        assert_eq!(names, ["all"]);
        let event: Event = serde_json::from_value(told[0].body.clone()).unwrap();
        assert_eq!((event.id, event.subject.as_str()), (told[0].id, "web01"));
        assert!(!told[0].body.to_string().contains("hush"));

        let [vm, last, due] = ["web01", "a", "b"].map(str::to_owned);
        let late = alert("web01", Kind::RecoveryPointLate { vm, last, due });
        let over = teller.over(&[gone, late], now);
        let kinds = over.iter().map(|told| told.body["event"].clone());
        let expected = ["backup_recovered", "vm_on_time", "vm_on_time"];
        assert_eq!(kinds.collect::<Vec<_>>(), expected.map(Value::from));
        let (channel, reason) = ("all".to_owned(), String::new());
        let broken = alert("channel:all", Kind::NotificationFailed { channel, reason });
        let told = teller
            .without("all")
            .opened(&[broken], EventKind::AlertOpened, now);
        assert_eq!(told, []);
    }
}
