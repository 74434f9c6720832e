//! A host that has its own lane and everything else against it. One test for each kind of attempt.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tresor_catalog::PointFilter;
use tresor_channel::{Connection, ErrorKind as LinkKind, Failure};
use tresor_host_link::{Why, wire};
use tresor_jobs::testing::contract::new_job;
use tresor_jobs::{
    JobEvent, JobLog as _, JobQueue as _, Lease, NewJob, Owner, Progress, RecordedEvent, Ticket,
    Warning,
};
use tresor_model::{HostId, JobId, JobKind, JobState, VmId};
use tresor_workflows::backup::{BackupCause, BackupOrder};

use crate::pair::{Service, connect};
use crate::registry::{found, point};

/// A host that is curious, a victim with a VM and a job, and a VM of the service's machine.
struct Scene {
    service: Service,
    hostile: HostId,
    victim: HostId,
    connection: Connection,
}

impl Scene {
    async fn new() -> Self {
        let service = Service::new().await;
        let (hostile, victim) = (service.enrol().await, service.enrol().await);
        let (connection, _) = connect(&service.desk(hostile)).await;
        Self {
            service,
            hostile,
            victim,
            connection,
        }
    }

    async fn ask(&self, method: &str, head: Value, body: Option<&Value>) -> Result<(), Failure> {
        let head = serde_json::to_vec(&head).unwrap();
        let asked = match body {
            None => self.connection.call(method, &head).await.map(drop),
            Some(body) => {
                let body = serde_json::to_vec(body).unwrap();
                let call = self.connection.call_with_body(method, &head).await;
                let mut call = call.unwrap();
                call.body.write(&body).await.ok();
                call.finish().await.map(drop)
            }
        };
        asked.map_err(|error| {
            assert_eq!(error.kind(), LinkKind::Refused, "{method}: {error}");
            error.failure().unwrap().clone()
        })
    }

    async fn failure(&self, method: &str, head: Value, body: Option<&Value>) -> Failure {
        self.ask(method, head, body).await.unwrap_err()
    }

    /// Refused by the rules, and told.
    async fn refused(&self, method: &str, head: Value, body: Option<&Value>, why: Why) {
        let failure = self.failure(method, head, body).await;
        assert_eq!(failure.code, "host.refused", "{method}: {failure:?}");
        assert_eq!(failure.fields["why"], why.word(), "{method}: {failure:?}");
        let told = self.service.told.take();
        let [attempt] = &told[..] else {
            panic!("{method}: {told:?}");
        };
        assert_eq!((attempt.host, attempt.why), (self.hostile, why));
        assert_eq!(attempt.method, method);
    }

    async fn job_of(&self, host: HostId, name: &str) -> Lease {
        let (lane, me) = (host.to_string(), Owner::current());
        let job = new_job(name, None);
        let begun = self.service.catalog.begin_in(&lane, &job, &me);
        begun.await.unwrap()
    }
}

fn owner() -> Value {
    serde_json::to_value(Owner::current()).unwrap()
}

fn job(job: &NewJob) -> Value {
    serde_json::to_value(wire::Job::from(job)).unwrap()
}

fn warned(seq: u64, text: &str) -> Value {
    let event = JobEvent::Warned {
        sub_task: None,
        warning: Warning::from(text),
    };
    let at = Timestamp::now();
    serde_json::to_value(RecordedEvent { seq, at, event }).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_another_lane_is_not_there() {
    let scene = Scene::new().await;
    let Lease { job: theirs, epoch } = scene.job_of(scene.victim, "web01").await;
    let catalog = &scene.service.catalog;
    // One of the service's own lane, and one that never waited.
    let me = Owner::current();
    let own = new_job("b", None);
    catalog.begin(&own, &me).await.unwrap();
    let waits = new_job("c", None);
    let ticket = Ticket {
        lane: scene.victim.to_string(),
        not_before: Timestamp::now(),
        rank: 0,
    };
    catalog.enqueue(&waits, &ticket).await.unwrap();
    let lane = scene.hostile.to_string();
    let progress = Progress {
        sub_task: 0,
        done: 1,
        total: None,
        message: String::new(),
    };
    let event = warned(0, "mine");
    for job in [theirs, own.id, waits.id, JobId::generate()] {
        for (method, head, body) in [
            ("jobs.load", json!({"job": job}), None),
            ("jobs.cancel", json!({"job": job}), None),
            ("jobs.cancel-requested", json!({"job": job}), None),
            ("jobs.heartbeat", json!({"job": job, "epoch": epoch}), None),
            (
                "jobs.progress",
                json!({"job": job, "epoch": epoch, "progress": progress}),
                None,
            ),
            ("jobs.claim", json!({"job": job, "owner": owner()}), None),
            (
                "jobs.take-over",
                json!({"job": job, "epoch": epoch, "owner": owner()}),
                None,
            ),
            (
                "jobs.requeue",
                json!({"job": job, "lane": lane, "wait_ms": 0, "rank": 0}),
                None,
            ),
            (
                "jobs.append",
                json!({"job": job, "epoch": epoch, "state": "completed"}),
                Some(&event),
            ),
        ] {
            let failure = scene.failure(method, head, body).await;
            assert_eq!(failure.code, "jobs.not-found", "{method}");
            assert!(!failure.fields.contains_key("yours"), "{method}");
        }
    }
    let theirs = catalog.load(theirs).await.unwrap();
    assert_eq!((theirs.events.len(), theirs.header.epoch), (0, epoch));
    assert!(!theirs.header.cancel_requested);
    let waits = catalog.load(waits.id).await.unwrap().header;
    assert_eq!(
        (waits.owner, waits.lane),
        (None, Some(scene.victim.to_string()))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn other_lanes_are_neither_listed_nor_filled() {
    let scene = Scene::new().await;
    scene.job_of(scene.victim, "web01").await;
    let own = scene.job_of(scene.hostile, "web02").await;
    for (lane, expected) in [
        (json!(null), vec![own.job]),
        (json!(scene.hostile), vec![own.job]),
        (json!(scene.victim), vec![]),
        (json!("local"), vec![]),
    ] {
        let head = json!({"subject": null, "kind": null, "state": null, "lane": lane,
            "unfinished": false, "before": null, "limit": 10});
        let head = serde_json::to_vec(&head).unwrap();
        let answer = scene.connection.call("jobs.list", &head).await.unwrap();
        let body = answer.body.read_to_end(1 << 20).await.unwrap();
        let listed: Vec<wire::Header> = wire::read(&body).unwrap();
        let listed: Vec<_> = listed.iter().map(|header| header.job.id).collect();
        assert_eq!(listed, expected, "{lane}");
    }
    let new = job(&new_job("web01", None));
    let waits = scene.job_of(scene.hostile, "a").await.job;
    for lane in [scene.victim.to_string(), "local".to_owned()] {
        let due = json!({"lane": lane, "limit": 10});
        scene.refused("jobs.due", due, None, Why::Lane).await;
        let enqueue = json!({"lane": lane, "wait_ms": 0, "rank": 0});
        scene
            .refused("jobs.enqueue", enqueue, Some(&new), Why::Lane)
            .await;
        let requeue = json!({"job": waits, "lane": lane, "wait_ms": 0, "rank": 0});
        scene
            .refused("jobs.requeue", requeue, None, Why::Lane)
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_host_records_is_of_its_own() {
    let scene = Scene::new().await;
    let service = &scene.service;
    let own = service.vm("own", Some(scene.hostile)).await;
    let theirs = service.vm("theirs", Some(scene.victim)).await;
    let local = service.vm("local01", None).await;
    let vault = service.catalog.vault("main").await.unwrap();
    let good = NewJob {
        lock: Some(format!("vm:{}", own.id)),
        ..new_job("own", None)
    };
    let with = |change: &dyn Fn(&mut NewJob)| {
        let id = JobId::generate();
        let mut job = NewJob { id, ..good.clone() };
        change(&mut job);
        job
    };
    let order = |vm: VmId| {
        let order = BackupOrder {
            cause: BackupCause::Scheduled {
                window: Timestamp::now(),
                attempt: 0,
            },
            ..BackupOrder::new(vm, "any")
        };
        serde_json::to_value(order).unwrap()
    };
    let future = Timestamp::now() + SignedDuration::from_hours(2);
    let lane = scene.hostile.to_string();
    for (job, why) in [
        (with(&|job| job.kind = JobKind::Restore), Why::Kind),
        (
            with(&|job| job.lock = Some(format!("vm:{}", theirs.id))),
            Why::Lock,
        ),
        (
            with(&|job| job.lock = Some(format!("vm:{}", local.id))),
            Why::Lock,
        ),
        (
            with(&|job| job.lock = Some(format!("collect:{}", vault.id))),
            Why::Lock,
        ),
        (with(&|job| job.subject = "theirs".to_owned()), Why::Vm),
        // The last collect of a vault is known by its name.
        (
            with(&|job| (job.kind, job.subject) = (JobKind::Collect, "main".to_owned())),
            Why::Vm,
        ),
        // The scheduler would take it for the one it has queued.
        (with(&|job| job.params = order(theirs.id)), Why::Vm),
        (with(&|job| job.created_at = future), Why::Time),
        (
            with(&|job| job.id = JobId::from_uuid(uuid::Uuid::max())),
            Why::Time,
        ),
    ] {
        let job = self::job(&job);
        let begin = json!({"owner": owner()});
        scene.refused("jobs.begin", begin, Some(&job), why).await;
        let enqueue = json!({"lane": lane, "wait_ms": 0, "rank": 0});
        scene
            .refused("jobs.enqueue", enqueue, Some(&job), why)
            .await;
    }
    let own_order = with(&|job| job.params = order(own.id));
    let begin = json!({"owner": owner()});
    let own_job = job(&own_order);
    scene
        .ask("jobs.begin", begin, Some(&own_job))
        .await
        .unwrap();
    let begun = service.catalog.load(own_order.id).await.unwrap().header;
    assert_eq!(begun.lane, Some(lane));
    assert_eq!(service.catalog.unfinished_in("local").await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_or_too_much_is_refused() {
    let scene = Scene::new().await;
    let Lease { job: own, epoch } = scene.job_of(scene.hostile, "own").await;
    let append = json!({"job": own, "epoch": epoch, "state": "in_progress"});
    let long = "long".repeat(100_000);
    let event = warned(0, &long);
    scene
        .refused("jobs.append", append.clone(), Some(&event), Why::Malformed)
        .await;
    let event = warned(wire::EVENTS, "late");
    scene
        .refused("jobs.append", append.clone(), Some(&event), Why::Malformed)
        .await;
    // As long a story as there may be, and one event more.
    let piece = "p".repeat(200_000);
    let mut seq = 0;
    let refused = loop {
        match scene
            .ask("jobs.append", append.clone(), Some(&warned(seq, &piece)))
            .await
        {
            Ok(()) => seq += 1,
            Err(failure) => break failure,
        }
    };
    assert_eq!(refused.fields["why"], Why::TooMany.word());
    assert_eq!(seq, wire::STORY / 200_100);
    scene.service.told.take();
    // It can still be read.
    scene
        .ask("jobs.cancel", json!({"job": own}), None)
        .await
        .unwrap();
    let load = serde_json::to_vec(&json!({"job": own})).unwrap();
    let answer = scene.connection.call("jobs.load", &load).await.unwrap();
    let story = answer.body.read_to_end(16 << 20).await.unwrap();
    let story: wire::Story = wire::read(&story).unwrap();
    assert_eq!(story.events.len() as u64, seq);

    let large = NewJob {
        params: json!({"long": long}),
        ..new_job("own", None)
    };
    let begin = json!({"owner": owner()});
    scene
        .refused(
            "jobs.begin",
            begin.clone(),
            Some(&job(&large)),
            Why::Malformed,
        )
        .await;
    let subject = new_job(&"s".repeat(wire::TEXT + 1), None);
    scene
        .refused("jobs.begin", begin, Some(&job(&subject)), Why::Malformed)
        .await;
    let many: Vec<_> = (0..=wire::FOUND as u128)
        .map(|nth| json!({"vm": uuid::Uuid::from_u128(nth), "name": "", "qmp_socket": "", "agent_socket": null,
            "machine": null, "state": "", "problem": null}))
        .collect();
    let report = json!({"entries": many.len()});
    scene
        .refused("host.report", report, Some(&json!(many)), Why::Malformed)
        .await;
    let report = json!({"entries": 2});
    scene
        .refused(
            "host.report",
            report.clone(),
            Some(&json!(many[..1])),
            Why::Malformed,
        )
        .await;
    let name = "n".repeat(wire::REPORT);
    let large = json!([{"name": name}, {}]);
    scene
        .refused("host.report", report, Some(&large), Why::Malformed)
        .await;
    let alive = json!({"version": "1", "capabilities": "c".repeat(wire::CAPABILITIES)});
    malformed(&scene, "host.alive", alive).await;
    let mut long_owner = owner();
    long_owner["machine"] = json!("m".repeat(wire::TEXT + 1));
    malformed(
        &scene,
        "jobs.claim",
        json!({"job": own, "owner": long_owner}),
    )
    .await;
}

async fn malformed(scene: &Scene, method: &str, head: Value) {
    let failure = scene.failure(method, head, None).await;
    assert_eq!(failure.code, "link.head-malformed", "{method}: {failure:?}");
    let told = scene.service.told.take();
    assert_eq!(told[0].why, Why::Malformed);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_is_refused() {
    let scene = Scene::new().await;
    let job = scene.job_of(scene.hostile, "own").await.job;
    for (method, head) in [
        ("jobs.load", json!(null)),
        ("jobs.load", json!({})),
        ("jobs.load", json!({"job": "seven"})),
        ("jobs.load", json!({"job": job, "unless": "it rains"})),
        (
            "jobs.append",
            json!({"job": job, "epoch": -1, "state": "in_progress"}),
        ),
        (
            "jobs.append",
            json!({"job": job, "epoch": 1, "state": "on_the_moon"}),
        ),
        ("host.vm", json!({"vm": 7})),
    ] {
        malformed(&scene, method, head).await;
    }
    for method in ["jobs.delete", "host.become", "jobs.", "host.vm.x"] {
        let failure = scene.failure(method, json!({}), None).await;
        assert_eq!(failure.code, "link.method-unknown");
        scene.service.told.take();
    }
    let append = json!({"job": job, "epoch": 1, "state": "in_progress"});
    let mut newer = warned(0, "a");
    newer["since"] = json!("tomorrow");
    let strange = json!({"seq": 0, "at": Timestamp::now(), "event": {"event": "exploded"}});
    for body in [&newer, &strange, &json!([]), &json!("text")] {
        scene
            .refused("jobs.append", append.clone(), Some(body), Why::Malformed)
            .await;
    }
    // A number that no database can hold is no lease's.
    let append = json!({"job": job, "epoch": u64::MAX, "state": "in_progress"});
    let failure = scene
        .failure("jobs.append", append, Some(&warned(0, "a")))
        .await;
    assert_eq!(failure.code, "jobs.lease-lost");
    let story = scene.service.catalog.load(job).await.unwrap();
    assert_eq!(
        (story.events.len(), story.header.state),
        (0, JobState::Queued)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn vms_and_points_of_others_are_out_of_reach() {
    let scene = Scene::new().await;
    let service = &scene.service;
    let own = service.vm("own", Some(scene.hostile)).await;
    let theirs = service.vm("theirs", Some(scene.victim)).await;
    let local = service.vm("local01", None).await;
    let vault = service.catalog.vault("main").await.unwrap().id;
    let machine = serde_json::to_value(crate::registry::machine()).unwrap();
    for vm in [&theirs, &local] {
        for (method, head, body) in [
            ("host.vm", json!({"vm": vm.id}), None),
            (
                "host.note-machine",
                json!({"vm": vm.name}),
                Some(machine.clone()),
            ),
            (
                "host.note-point",
                json!({"vault": vault}),
                Some(serde_json::to_value(point(vm.id)).unwrap()),
            ),
        ] {
            let failure = scene.failure(method, head, body.as_ref()).await;
            assert_eq!(failure.code, "VmNotFound", "{method}");
        }
        let found = service.catalog.vm(&vm.name).await.unwrap();
        assert_eq!(found, *vm);
    }
    // The id of a point that is another VM's.
    let their_point = point(theirs.id);
    let record = tresor_catalog::PointRecord::of(&their_point, vault);
    service.catalog.upsert_point(&record).await.unwrap();
    let stolen = serde_json::to_value(point(own.id)).unwrap();
    let head = json!({"vault": vault});
    scene
        .refused("host.note-point", head, Some(&stolen), Why::Point)
        .await;
    let nowhere = json!({"vault": uuid::Uuid::new_v4()});
    let failure = scene
        .failure("host.note-point", nowhere, Some(&stolen))
        .await;
    assert_eq!(failure.code, "VaultNotFound");
    let points = service
        .catalog
        .points(&PointFilter::default())
        .await
        .unwrap();
    assert_eq!((points.len(), points[0].vm), (1, theirs.id));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_reported_is_on_the_host_that_reports() {
    let scene = Scene::new().await;
    let service = &scene.service;
    let theirs = service.vm("theirs", Some(scene.victim)).await;
    let there = [found("theirs", theirs.id, "/run/theirs")];
    let seen = service
        .catalog
        .report(Some(scene.victim), &there, Timestamp::now());
    seen.await.unwrap();
    let stolen = wire::Found::from(found("theirs", theirs.id, "/run/stolen"));
    let report = json!({"entries": 1});
    scene
        .ask("host.report", report, Some(&json!([stolen])))
        .await
        .unwrap();
    assert_eq!(service.catalog.vm("theirs").await.unwrap(), theirs);
    let victim = service
        .catalog
        .datasource((theirs.id, Some(scene.victim)))
        .await;
    assert_eq!(victim.unwrap().seen, there[0]);
    let nothing = json!({"entries": 0});
    scene
        .ask("host.report", nothing, Some(&json!([])))
        .await
        .unwrap();
    let victim = service
        .catalog
        .datasource((theirs.id, Some(scene.victim)))
        .await;
    assert_eq!(victim.unwrap().gone_since, None);
}
