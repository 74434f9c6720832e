//! Every metric there is. `docs/metrics.md` is made from this table.

use std::fmt;

/// How a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// It only rises.
    Counter,
    /// It rises and falls.
    Gauge,
    /// How often something was how large.
    Histogram,
}

impl fmt::Display for MetricKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        })
    }
}

/// One metric.
#[derive(Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name, with the unit.
    pub name: &'static str,
    /// How it behaves.
    pub kind: MetricKind,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

macro_rules! metrics {
    ($($id:ident $name:literal $kind:ident [$($label:literal),*] $help:literal;)*) => {
        $(pub(crate) const $id: &Metric = &Metric {
            name: $name,
            kind: MetricKind::$kind,
            labels: &[$($label),*],
            help: $help,
        };)*

        /// All of them.
        pub const METRICS: &[&Metric] = &[$($id),*];
    };
}

metrics! {
    BUILD_INFO "tresor_build_info" Gauge ["version"]
        "Always 1; the label has the version of the program.";
    LEADS "tresor_scheduler_leads" Gauge []
        "1 while this process schedules; of several on one catalog one does.";
    LAST_TICK "tresor_scheduler_last_tick_timestamp_seconds" Gauge []
        "When this process last looked at what is due; missing while it never has.";
    LEASE "tresor_scheduler_lease_expires_timestamp_seconds" Gauge []
        "Until when whichever process schedules has said that it lives; in the past: nobody schedules.";

    ITEMS "tresor_items" Gauge ["standing"]
        "Protected items by how they stand: fresh, waiting (for their first recovery point), late, vanished, stopped, unknown.";
    ITEM_LAST_POINT "tresor_item_last_point_timestamp_seconds" Gauge ["vm", "policy", "vault"]
        "The moment whose data the item's last recovery point has; missing while it has none.";
    ITEM_DUE "tresor_item_due_timestamp_seconds" Gauge ["vm", "policy", "vault"]
        "When the item's next recovery point is late: the allowed gap after the last one, and what its backups take.";
    ITEM_GAP "tresor_item_allowed_gap_seconds" Gauge ["vm", "policy", "vault"]
        "The longest gap between recovery points that the item's policy promises.";

    JOBS_ENDED "tresor_jobs_ended_total" Counter ["kind", "state"]
        "Jobs that ended, by their final state. Survives restarts.";
    JOBS_RUNNING "tresor_jobs_running" Gauge ["kind"]
        "Jobs that a process works on.";
    JOBS_QUEUED "tresor_jobs_queued" Gauge ["lane"]
        "Jobs that wait to be taken up, by lane: `local`, or a host's id.";
    OLDEST_WAIT "tresor_jobs_queued_oldest_seconds" Gauge ["lane"]
        "For how long the oldest of them has waited.";
    JOB_DURATION "tresor_job_duration_seconds" Histogram ["kind"]
        "From a job's first sub-task to its end. Survives restarts.";
    JOB_WAIT "tresor_job_queue_wait_seconds" Histogram ["kind"]
        "From when a job was made until it was taken up. Survives restarts.";
    SUB_TASK_DURATION "tresor_sub_task_duration_seconds" Histogram ["kind", "sub_task"]
        "What a sub-task's action took. Survives restarts.";
    BACKUP_READ "tresor_backup_read_bytes" Histogram []
        "What backups read from disks. Survives restarts.";
    BACKUP_STORED "tresor_backup_stored_bytes" Histogram []
        "What backups stored in vaults, compressed and sealed. Survives restarts.";
    GUEST_FREEZE "tresor_guest_freeze_seconds" Histogram []
        "For how long backups kept their guests frozen or paused. Survives restarts.";

    ALERTS "tresor_alerts_open" Gauge ["code"]
        "Alerts that are open, by the code of their problem (docs/problems).";
    VAULT_VERIFIED "tresor_vault_last_verified_timestamp_seconds" Gauge ["vault"]
        "When something in the vault was last read back and was right, by what this installation verifies in parts.";
    VAULT_JOB "tresor_vault_last_job_timestamp_seconds" Gauge ["vault", "kind"]
        "When the last job of that kind (collect, expire, verify, check, or catalog: the backup of the database) for the vault was completed.";
    HOST_SEEN "tresor_host_last_seen_timestamp_seconds" Gauge ["host"]
        "A host's last sign of life.";
    WAITING "tresor_notifications_waiting" Gauge ["channel"]
        "Notifications that wait to be sent.";
    FAILING "tresor_notification_channel_failing" Gauge ["channel"]
        "1 while nothing gets through by the channel.";

    HTTP_REQUESTS "tresor_http_requests_total" Counter ["method", "route", "status"]
        "Requests that this process has answered since its start.";
    HTTP_DURATION "tresor_http_request_duration_seconds" Histogram ["route"]
        "What this process took to answer, since its start.";
    PROCESS_START "process_start_time_seconds" Gauge []
        "When this process began.";
    PROCESS_CPU "process_cpu_seconds_total" Counter []
        "Processor time that this process has used.";
    PROCESS_MEMORY "process_resident_memory_bytes" Gauge []
        "Memory that this process has in use.";
    PROCESS_FILES "process_open_fds" Gauge []
        "Files and sockets that this process has open.";
}

/// The table in `docs/metrics.md`.
#[must_use]
pub fn metrics_page() -> String {
    let mut text =
        String::from("| metric | kind | labels | what it says |\n| --- | --- | --- | --- |\n");
    for metric in METRICS {
        let labels = metric.labels.iter().map(|label| format!("`{label}`"));
        let labels = labels.collect::<Vec<_>>().join(", ");
        let (name, kind, help) = (metric.name, metric.kind, metric.help);
        text.push_str(&format!("| `{name}` | {kind} | {labels} | {help} |\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// <https://prometheus.io/docs/practices/naming/>
    #[test]
    fn names_are_as_prometheus_wants_them() {
        let mut names = BTreeSet::new();
        for metric in METRICS {
            let name = metric.name;
            assert!(names.insert(name), "{name} is there twice");
            let good = |c: char| c.is_ascii_lowercase() || c == '_';
            assert!(name.chars().all(good), "{name}");
            let counts = name.ends_with("_total");
            assert_eq!(counts, metric.kind == MetricKind::Counter, "{name}");
            assert!(
                name.starts_with("tresor_") || name.starts_with("process_"),
                "{name}"
            );
            assert!(metric.help.ends_with('.'), "{name}");
        }
    }
}
