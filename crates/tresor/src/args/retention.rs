//! Which recovery points to keep.

use clap::Args;
use tresor_policy::{Rules, parse_duration};

use super::VaultAccess;

/// Rules of retention.
#[derive(Debug, Clone, Args)]
pub(crate) struct KeepArgs {
    /// Keep the newest N points
    #[arg(long, value_name = "N")]
    pub(crate) keep_last: Option<u32>,
    /// Keep the last point of each of the newest N hours that have one
    #[arg(long, value_name = "N")]
    pub(crate) keep_hourly: Option<u32>,
    /// The same by days
    #[arg(long, value_name = "N")]
    pub(crate) keep_daily: Option<u32>,
    /// The same by weeks, from Monday on
    #[arg(long, value_name = "N")]
    pub(crate) keep_weekly: Option<u32>,
    /// The same by months
    #[arg(long, value_name = "N")]
    pub(crate) keep_monthly: Option<u32>,
    /// The same by years
    #[arg(long, value_name = "N")]
    pub(crate) keep_yearly: Option<u32>,
    /// Keep all points that are at most so much older than the newest: 12h, 7d, 2w, 6mo
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) keep_within: Option<String>,
}

impl KeepArgs {
    /// The rules that were given; `None` when none was.
    pub(crate) fn rules(&self) -> Option<Rules> {
        let counts = [
            self.keep_last,
            self.keep_hourly,
            self.keep_daily,
            self.keep_weekly,
            self.keep_monthly,
            self.keep_yearly,
        ];
        let given = self.keep_within.is_some() || counts.iter().any(Option::is_some);
        let [last, hourly, daily, weekly, monthly, yearly] = counts.map(Option::unwrap_or_default);
        given.then(|| Rules {
            last,
            hourly,
            daily,
            weekly,
            monthly,
            yearly,
            within: self.keep_within.clone(),
        })
    }
}

/// A duration, as it was written.
pub(crate) fn duration(text: &str) -> Result<String, String> {
    match parse_duration(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// `tresor expire`
#[derive(Debug, Args)]
pub(crate) struct ExpireArgs {
    /// Names of VMs [default: every VM that has points in the vault]
    pub(crate) vms: Vec<String>,

    #[command(flatten)]
    pub(crate) keep: KeepArgs,

    /// Whose hours, days and weeks count, as `Europe/Berlin` [default: this machine's]
    #[arg(long, value_name = "ZONE")]
    pub(crate) time_zone: Option<String>,

    /// For how long a point that goes can be brought back; with 0d it is gone at once
    #[arg(long, value_name = "DURATION", default_value = "7d", value_parser = duration)]
    pub(crate) grace: String,

    /// Only print the plan, and its id
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Do what this plan of an earlier `--dry-run` says, if it still would be the same
    #[arg(
        long,
        value_name = "PLAN-ID",
        conflicts_with_all = [
            "vms", "dry_run", "time_zone", "keep_last", "keep_hourly", "keep_daily", "keep_weekly",
            "keep_monthly", "keep_yearly", "keep_within",
        ]
    )]
    pub(crate) apply: Option<String>,

    /// Do not ask
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) yes: bool,

    #[command(flatten)]
    pub(crate) access: VaultAccess,
}
