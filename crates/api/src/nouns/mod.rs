//! The resources: a file a noun, with what it looks like and what can be done with it.

pub(crate) mod alerts;
pub(crate) mod audit;
pub(crate) mod channels;
pub(crate) mod datasources;
pub(crate) mod hosts;
pub(crate) mod items;
pub(crate) mod job_detail;
pub(crate) mod jobs;
pub(crate) mod points;
pub(crate) mod policies;
pub(crate) mod problems;
pub(crate) mod queued;
mod registering;
pub(crate) mod restores;
pub(crate) mod status;
pub(crate) mod tokens;
pub(crate) mod vault_jobs;
pub(crate) mod vaults;
