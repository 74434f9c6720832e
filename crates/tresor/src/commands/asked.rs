//! Jobs that a service is asked for: this machine's by `--queue`, one elsewhere in any case. Elsewhere they are
//! followed to their end.

use serde_json::json;
use tresor_api_client::Client;
use tresor_api_types::{Copy, JobView, Restore, Verify};
use tresor_host::{absolute, usage};
use tresor_model::{CopyReadBack, JobId, JobState, RereadFraction, VerifyShare};
use tresor_problem::{Kind, Problem};

use super::{
    jobs, lookup,
    session::{Session, print_problem},
};
use crate::{
    args::{
        BackupArgs, CollectArgs, CopyArgs, ExpireArgs, FREEZE_LIMIT_S, ImageFormat, KeyArgs,
        ReadBackArg, RequiredConsistency, RestoreArgs, StoreArgs, VerifyArgs,
    },
    output::note,
    progress::Follower,
};

pub(super) async fn backup(session: &Session, args: &BackupArgs) -> Result<(), Problem> {
    refuse(&[
        ("--vault", args.access.vault.is_some()),
        ("--fleecing-dir", args.fleecing_dir.is_some()),
        ("--fleecing-limit", args.fleecing_limit.is_some()),
        ("--freeze-limit", args.freeze_limit != FREEZE_LIMIT_S),
        ("--reread", args.reread != RereadFraction::default()),
        ("--require", args.require != RequiredConsistency::Crash),
        ("--transfer-limit", args.transfer_limit.is_some()),
        ("--read-limit", args.read_limit.is_some()),
        ("--upload-limit", args.upload_limit.is_some()),
    ])?;
    let client = session.client().await?;
    let vm = lookup::vm(&client, &args.vm).await?;
    let job = client.back_up(vm).await?;
    leave(session, &client, job).await
}

pub(super) async fn verify(session: &Session, args: &VerifyArgs) -> Result<(), Problem> {
    let client = session.client().await?;
    let access = &args.access;
    let vault = lookup::vault(&client, access.vault.as_deref(), &access.key).await?;
    let point = match &args.point {
        Some(selector) => Some(lookup::point(&client, Some(&vault), selector).await?),
        None => None,
    };
    let asked = Verify {
        point,
        since_last: args.since_last,
        share: args.sample.as_ref().map(VerifyShare::to_string),
        ..Verify::default()
    };
    let job = client.verify(&vault, &asked).await?;
    leave(session, &client, job).await
}

pub(super) async fn restore(session: &Session, args: &RestoreArgs) -> Result<(), Problem> {
    let client = session.client().await?;
    let access = &args.access;
    let vault = match &access.vault {
        None if access.key.key_file.is_none() && access.key.passphrase_file.is_none() => None,
        vault => Some(lookup::vault(&client, vault.as_deref(), &access.key).await?),
    };
    let point = lookup::point(&client, vault.as_deref(), &args.point).await?;
    // A path elsewhere has nothing to do with where this program runs.
    let to = match session.is_remote()? {
        true => args.to.clone(),
        false => absolute(&args.to),
    };
    let to = to.into_os_string().into_string();
    let format = args.format.map(|format| match format {
        ImageFormat::Raw => "raw",
        ImageFormat::Qcow2 => "qcow2",
    });
    let asked = Restore {
        to: Some(
            to.map_err(|_| usage("The directory's name is no text: the service takes none."))?,
        ),
        vault,
        disks: args.disk.clone(),
        format: format.map(str::to_owned),
        overwrite: args.overwrite,
        ..Restore::default()
    };
    let job = client.restore(point, &asked).await?;
    leave(session, &client, job).await
}

pub(super) async fn copy(session: &Session, args: &CopyArgs) -> Result<(), Problem> {
    refuse(&[
        ("--dry-run", args.dry_run),
        (
            "options of object stores",
            args.store != StoreArgs::default(),
        ),
        (
            "options of object stores",
            args.to_store.store() != StoreArgs::default(),
        ),
    ])?;
    let client = session.client().await?;
    let to_key = KeyArgs {
        key_file: args.to_key_file.clone(),
        passphrase_file: args.to_passphrase_file.clone(),
    };
    let to = lookup::vault(&client, Some(&args.to), &to_key).await?;
    let from = match &args.from {
        Some(from) => lookup::vault(&client, Some(from), &args.key).await?,
        None => the_other(&client, &to, &args.key).await?,
    };
    let (points, vms): (Vec<_>, Vec<_>) = args
        .what
        .iter()
        .partition(|it| it.parse::<tresor_model::PointId>().is_ok());
    let asked = Copy {
        to,
        vms: vms.into_iter().cloned().collect(),
        points: points
            .into_iter()
            .filter_map(|it| it.parse().ok())
            .collect(),
        newest: args
            .newest
            .map(|newest| u32::try_from(newest).unwrap_or(u32::MAX)),
        older: args.older,
        read_back: match args.read_back {
            ReadBackArg::None => CopyReadBack::None,
            ReadBackArg::Sample => CopyReadBack::Sample,
            ReadBackArg::All => CopyReadBack::All,
        },
        read_mib_s: args.read_limit,
        upload_mib_s: args.upload_limit,
    };
    let job = client.copy(&from, &asked).await?;
    leave(session, &client, job).await
}

async fn the_other(client: &Client, to: &str, key: &KeyArgs) -> Result<String, Problem> {
    let known = client
        .vaults(&tresor_api_types::PageQuery::default())
        .all()
        .await?;
    let mut others = known.iter().filter(|vault| vault.name != to);
    match (others.next(), others.next()) {
        (Some(only), None) => lookup::vault(client, Some(&only.name), key).await,
        _ => Err(usage("Say which vault to copy from, with --from.")),
    }
}

/// By the rules of the policies and VMs that the service knows.
pub(super) async fn expire(session: &Session, args: &ExpireArgs) -> Result<(), Problem> {
    refuse(&[
        ("names of VMs", !args.vms.is_empty()),
        ("--keep-…", args.keep.rules().is_some()),
        ("--time-zone", args.time_zone.is_some()),
        ("--dry-run", args.dry_run),
        ("--apply", args.apply.is_some()),
    ])?;
    let client = session.client().await?;
    let access = &args.access;
    let vault = lookup::vault(&client, access.vault.as_deref(), &access.key).await?;
    if !args.yes {
        note(&format!(
            "What retention does not keep in vault {vault} is deleted; it can be brought back for 7 days."
        ));
        super::expire::confirm()?;
    }
    let job = client.expire(&vault).await?;
    leave(session, &client, job).await
}

pub(super) async fn collect(session: &Session, args: &CollectArgs) -> Result<(), Problem> {
    refuse(&[
        ("--dry-run", args.dry_run),
        ("--wait", args.wait.is_some()),
        (
            "--abort-sessions-older-than",
            args.abort_sessions_older_than.is_some(),
        ),
        (
            "--min-gain",
            args.min_gain != tresor_vault::DEFAULT_MIN_GAIN,
        ),
    ])?;
    let client = session.client().await?;
    let access = &args.access;
    let vault = lookup::vault(&client, access.vault.as_deref(), &access.key).await?;
    let job = client.collect(&vault).await?;
    leave(session, &client, job).await
}

/// Refuses what the service cannot be asked for.
fn refuse(given: &[(&str, bool)]) -> Result<(), Problem> {
    let given: Vec<_> = given.iter().filter(|it| it.1).map(|it| it.0).collect();
    if given.is_empty() {
        return Ok(());
    }
    Err(usage(&format!(
        "The service does this as its policies say, and takes no {}: leave it out, or run the command on the \
         machine itself.",
        given.join(", ")
    )))
}

/// Leaves a job to this machine's service; one elsewhere is waited for, unless that is not wanted.
pub(super) async fn leave(session: &Session, client: &Client, job: JobView) -> Result<(), Problem> {
    if session.is_remote()? && !session.service().no_wait {
        note(&format!("job {} waits for its turn", job.id));
        return follow(session, client, job.id).await;
    }
    let result = json!({ "job": job.id, "kind": job.kind, "subject": job.subject });
    let text = || {
        format!(
            "Job {} waits for `tresor serve`: tresor jobs show {}",
            job.id, job.id
        )
    };
    let printed = session.output.result("queued", &result, text);
    printed.map_err(print_problem)
}

/// Follows a job to its end, prints it, and ends as it did.
pub(super) async fn follow(session: &Session, client: &Client, job: JobId) -> Result<(), Problem> {
    let mut follower = Follower::new(session.progress());
    let followed = tokio::select! {
        followed = client.follow(job, |news| follower.hear(news)) => followed,
        () = session.cancelled() => {
            follower.finish();
            note(&format!("job {job} goes on; `tresor jobs cancel {job}` stops it"));
            let what = format!("Waiting for job {job}");
            return Err(Kind::Interrupted { what }.into());
        }
    };
    follower.finish();
    let detail = followed?;
    match detail.job.state {
        JobState::Completed | JobState::CompletedWithWarnings => jobs::print(session, &detail),
        JobState::Cancelled => {
            let what = format!("Job {job}");
            Err(Kind::Interrupted { what }.into())
        }
        _ => Err(detail.problem.unwrap_or_else(|| {
            let what = format!("Job {job} failed without a cause.");
            Kind::Internal { what }.into()
        })),
    }
}
