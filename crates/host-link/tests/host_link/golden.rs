//! The heads and bodies of version 1, kept in testdata/v1/ and never edited: every later program
//! reads them (docs/protocol/host.md).

use std::collections::BTreeSet;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use tresor_catalog::Datasource;
use tresor_host_link::wire::{self, Mark, Request};
use tresor_jobs::{
    JobEvent, JobHeader, JobStory, LogError, LogErrorKind, NewJob, Owner, Progress, RecordedEvent,
    SubTaskSpec, Ticket, WaitingJob,
};
use tresor_model::{HostId, JobId, JobKind, JobState, VaultId, VmId};
use tresor_problem::{Kind, Problem};
use uuid::Uuid;

use crate::registry::{found, machine, point};

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/v1")
}

fn golden(name: &str) -> Vec<u8> {
    std::fs::read(directory().join(name)).unwrap()
}

fn id() -> Uuid {
    Uuid::from_u128(0x01a2_1b00_0000_7000_8000_0000_0000_0001)
}

fn at() -> Timestamp {
    "2026-11-28T12:00:00.000001Z".parse().unwrap()
}

fn job_id() -> JobId {
    JobId::from_uuid(id())
}

fn vm_id() -> VmId {
    VmId::from_uuid(id())
}

fn owner() -> Owner {
    Owner {
        machine: "a8c1".to_owned(),
        boot: "b00t".to_owned(),
        pid_namespace: "pid:[4026531836]".to_owned(),
        pid: 4711,
        started: 100,
        engine: id(),
    }
}

fn lane() -> String {
    id().to_string()
}

fn requests() -> Vec<(&'static str, Request)> {
    let (job, owner, epoch) = (job_id(), owner(), 2);
    let begin = Request::Begin(wire::Begin {
        owner: owner.clone(),
    });
    let enqueue = Request::Enqueue(wire::Enqueue {
        lane: lane(),
        wait_ms: 15_000,
        rank: -1,
    });
    let requeue = Request::Requeue(wire::Requeue {
        job,
        lane: lane(),
        wait_ms: 15_000,
        rank: 0,
    });
    let list = Request::List(wire::List {
        subject: Some("web01".to_owned()),
        kind: Some(JobKind::Backup),
        state: Some(JobState::InProgress),
        lane: Some(lane()),
        unfinished: true,
        before: Some(job),
        limit: 256,
    });
    let due = wire::Due {
        lane: lane(),
        limit: 8,
    };
    let progress = Request::SetProgress(wire::SetProgress {
        job,
        epoch,
        progress: progress(),
    });
    let append = wire::Append {
        job,
        epoch,
        state: JobState::InProgress,
    };
    let claim = wire::Claim {
        job,
        owner: owner.clone(),
    };
    let take_over = Request::TakeOver(wire::TakeOver { job, epoch, owner });
    let alive = Request::Alive(wire::Alive {
        version: "0.1.0".to_owned(),
        capabilities: json!({"kinds": ["backup"]}),
    });
    let vm = "web01".to_owned();
    let vault = VaultId::from_uuid(id());
    let after = Some(vm_id());
    vec![
        ("jobs.begin", begin),
        ("jobs.enqueue", enqueue),
        ("jobs.due", Request::Due(due)),
        ("jobs.claim", Request::Claim(claim)),
        ("jobs.requeue", requeue),
        ("jobs.append", Request::Append(append)),
        ("jobs.load", Request::Load(wire::Load { job })),
        ("jobs.list", list),
        ("jobs.take-over", take_over),
        ("jobs.cancel", Request::Cancel(wire::Cancel { job })),
        (
            "jobs.cancel-requested",
            Request::CancelRequested(wire::CancelRequested { job }),
        ),
        (
            "jobs.heartbeat",
            Request::Heartbeat(wire::Heartbeat { job, epoch }),
        ),
        ("jobs.progress", progress),
        ("host.alive", alive),
        ("host.vm", Request::Vm(wire::VmOf { vm: vm_id() })),
        (
            "host.note-machine",
            Request::NoteMachine(wire::NoteMachine { vm }),
        ),
        (
            "host.note-point",
            Request::NotePoint(wire::NotePoint { vault }),
        ),
        ("host.known", Request::Known(wire::Known { after })),
        ("host.report", Request::Report(wire::Report { entries: 1 })),
    ]
}

fn head(request: &Request) -> Vec<u8> {
    match request {
        Request::Begin(head) => encode(head),
        Request::Enqueue(head) => encode(head),
        Request::Due(head) => encode(head),
        Request::Claim(head) => encode(head),
        Request::Requeue(head) => encode(head),
        Request::Append(head) => encode(head),
        Request::Load(head) => encode(head),
        Request::List(head) => encode(head),
        Request::TakeOver(head) => encode(head),
        Request::Cancel(head) => encode(head),
        Request::CancelRequested(head) => encode(head),
        Request::Heartbeat(head) => encode(head),
        Request::SetProgress(head) => encode(head),
        Request::Alive(head) => encode(head),
        Request::Vm(head) => encode(head),
        Request::NoteMachine(head) => encode(head),
        Request::NotePoint(head) => encode(head),
        Request::Known(head) => encode(head),
        Request::Report(head) => encode(head),
    }
}

fn progress() -> Progress {
    Progress {
        sub_task: 2,
        done: 1 << 30,
        total: Some(1 << 31),
        message: "vda".to_owned(),
    }
}

fn job() -> NewJob {
    NewJob {
        id: job_id(),
        kind: JobKind::Backup,
        subject: "web01".to_owned(),
        lock: Some(format!("vm:{}", vm_id())),
        params: json!({"vm": vm_id(), "name": "web01"}),
        sub_tasks: vec![SubTaskSpec {
            name: "Take snapshot".to_owned(),
            limit_ms: Some(1_200_000),
            commits: false,
        }],
        created_at: at(),
    }
}

fn events() -> Vec<RecordedEvent> {
    let event = |seq, event| RecordedEvent {
        seq,
        at: at(),
        event,
    };
    vec![
        event(0, JobEvent::TakenUp { owner: owner() }),
        event(1, JobEvent::Started { sub_task: 0 }),
    ]
}

fn story() -> JobStory {
    let header = JobHeader {
        job: job(),
        state: JobState::InProgress,
        owner: Some(owner()),
        epoch: 2,
        heartbeat_at: at(),
        cancel_requested: false,
        progress: Some(progress()),
        lane: Some(lane()),
    };
    let events = events();
    JobStory { header, events }
}

fn waiting() -> WaitingJob {
    WaitingJob {
        job: job(),
        ticket: Ticket {
            lane: lane(),
            not_before: at(),
            rank: 0,
        },
        cancel_requested: true,
    }
}

fn vm() -> wire::Vm {
    wire::Vm {
        name: "web01".to_owned(),
        id: vm_id(),
        qmp_socket: "/run/qemu/web01.qmp".into(),
        agent_socket: Some("/run/qemu/web01.qga".into()),
        excluded_disks: Vec::new(),
        included_disks: Vec::new(),
        machine: Some(machine()),
        host: Some(HostId::from_uuid(id())),
        vault: "main".to_owned(),
        retention: None,
        created_at: at(),
    }
}

fn datasource() -> Datasource {
    found("web01", vm_id(), "/run/qemu/web01.qmp")
}

/// A problem as it is said today: its text may change, its form may not.
fn problem() -> Problem {
    let vm = "web01".to_owned();
    Problem {
        title: "There is no such VM".to_owned(),
        cause: "No VM web01 is registered.".to_owned(),
        remedy: vec!["Look at the list of VMs.".to_owned()],
        ..Kind::VmNotFound { vm }.into()
    }
}

fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).unwrap()
}

fn failures() -> Vec<(&'static str, Vec<u8>)> {
    let error = |kind| LogError::new(kind, "web01");
    let holder = job_id();
    let mark = Some(Mark { yours: 3 });
    let said = [
        (
            "failure-not-found.json",
            wire::failure_of_log(&error(LogErrorKind::NotFound), None),
        ),
        (
            "failure-busy.json",
            wire::failure_of_log(&error(LogErrorKind::Busy { holder }), None),
        ),
        (
            "failure-lease-lost.json",
            wire::failure_of_log(&error(LogErrorKind::LeaseLost), mark),
        ),
        (
            "failure-unusable.json",
            wire::failure_of_log(&error(LogErrorKind::Unusable), None),
        ),
        (
            "failure-refused.json",
            wire::refused("lane", "a host has jobs in its own lane only"),
        ),
        ("failure-problem.json", wire::failure_of_problem(&problem())),
    ];
    let said = said.into_iter();
    said.map(|(name, failure)| (name, failure.encode().unwrap()))
        .collect()
}

fn everything() -> Vec<(String, Vec<u8>)> {
    let mut said: Vec<_> = requests()
        .iter()
        .map(|(method, request)| (format!("request-{method}.json"), head(request)))
        .collect();
    let version = "0.1.0".to_owned();
    let now = at();
    let mut rest = vec![
        ("answer-lease.json", encode(&wire::LeaseAnswer { epoch: 2 })),
        ("answer-more.json", encode(&wire::More { more: false })),
        (
            "answer-cancel-requested.json",
            encode(&wire::CancelAnswer { requested: true }),
        ),
        (
            "answer-alive.json",
            encode(&wire::AliveAnswer { version, now }),
        ),
        ("answer-nothing.json", encode(&wire::Nothing {})),
        ("body-job.json", encode(&wire::Job::from(&job()))),
        ("body-event.json", encode(&events()[0])),
        ("body-story.json", encode(&wire::Story::from(story()))),
        (
            "body-headers.json",
            wire::page_of([wire::Header::from(story().header)])
                .unwrap()
                .body,
        ),
        (
            "body-waiting.json",
            wire::page_of([wire::Waiting::from(waiting())])
                .unwrap()
                .body,
        ),
        ("body-vm.json", encode(&vm())),
        ("body-machine.json", encode(&machine())),
        ("body-point.json", encode(&point(vm_id()))),
        (
            "body-found.json",
            encode(&[wire::Found::from(datasource())]),
        ),
    ];
    rest.extend(failures());
    said.extend(
        rest.into_iter()
            .map(|(name, bytes)| (name.to_owned(), bytes)),
    );
    said
}

/// Set `TRESOR_WRITE_GOLDEN` once, when something new gets its file. An existing file is never
/// overwritten.
#[test]
fn ends_still_say_version_1() {
    let mut written = BTreeSet::new();
    for (name, bytes) in everything() {
        let path = directory().join(&name);
        if std::env::var_os("TRESOR_WRITE_GOLDEN").is_some() && !path.exists() {
            std::fs::write(&path, &bytes).unwrap();
        }
        assert!(std::fs::read(&path).unwrap() == bytes, "{name}");
        written.insert(name);
    }
    let there = std::fs::read_dir(directory()).unwrap();
    let there = there.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(there.collect::<BTreeSet<_>>(), written);
}

fn read<T: serde::de::DeserializeOwned>(name: &str) -> T {
    wire::read(&golden(name)).unwrap()
}

#[test]
fn version_1_is_still_read() {
    for (method, request) in requests() {
        let head = golden(&format!("request-{method}.json"));
        assert_eq!(Request::decode(method, &head).unwrap(), request);
    }
    assert_eq!(read::<wire::LeaseAnswer>("answer-lease.json").epoch, 2);
    assert!(!read::<wire::More>("answer-more.json").more);
    assert!(read::<wire::CancelAnswer>("answer-cancel-requested.json").requested);
    assert_eq!(read::<wire::AliveAnswer>("answer-alive.json").now, at());
    let wire::Nothing {} = read("answer-nothing.json");
    let sent = wire::Job::decode(&golden("body-job.json")).unwrap();
    assert_eq!(NewJob::from(sent), job());
    assert_eq!(read::<RecordedEvent>("body-event.json"), events()[0]);
    assert_eq!(
        JobStory::from(read::<wire::Story>("body-story.json")),
        story()
    );
    let [header]: [wire::Header; 1] = read("body-headers.json");
    assert_eq!(JobHeader::from(header), story().header);
    let [waits]: [wire::Waiting; 1] = read("body-waiting.json");
    assert_eq!(WaitingJob::from(waits), waiting());
    assert_eq!(read::<wire::Vm>("body-vm.json"), vm());
    let [found]: [wire::Found; 1] = read("body-found.json");
    assert_eq!(Datasource::from(found), datasource());
    for (name, kind) in [
        ("not-found", LogErrorKind::NotFound),
        ("busy", LogErrorKind::Busy { holder: job_id() }),
        ("lease-lost", LogErrorKind::LeaseLost),
        ("unusable", LogErrorKind::Unusable),
        ("refused", LogErrorKind::Unusable),
    ] {
        let failure = golden(&format!("failure-{name}.json"));
        let failure = tresor_channel::Failure::decode(&failure).unwrap();
        assert_eq!(wire::log_error_of(&failure).kind, kind, "{name}");
        let mark = wire::mark_of(&failure).map(|mark| mark.yours);
        assert_eq!(mark, (name == "lease-lost").then_some(3));
    }
    let failure = tresor_channel::Failure::decode(&golden("failure-problem.json")).unwrap();
    assert_eq!(wire::problem_of(&failure), problem());
}

/// A service may be newer than its hosts: what they do not know in an answer they pass over. What it
/// does not know in a request, a job or an event it refuses.
#[test]
fn answers_may_grow_and_requests_may_not() {
    let grown = |name: &str, path: &[&str]| {
        let mut value: Value = read(name);
        let mut at = &mut value;
        for step in path {
            at = match step.parse::<usize>() {
                Ok(nth) => &mut at[nth],
                Err(_) => &mut at[*step],
            };
        }
        at["since"] = json!("tomorrow");
        encode(&value)
    };
    let page = grown("body-headers.json", &["0", "job", "sub_tasks", "0"]);
    wire::read::<Vec<wire::Header>>(&page).unwrap();
    wire::read::<wire::Story>(&grown("body-story.json", &["events", "0", "event"])).unwrap();
    wire::read::<wire::Vm>(&grown("body-vm.json", &["machine"])).unwrap();
    wire::read::<wire::LeaseAnswer>(&grown("answer-lease.json", &[])).unwrap();
    for (method, path) in [
        ("jobs.claim", &[][..]),
        ("jobs.claim", &["owner"]),
        ("jobs.progress", &["progress"]),
        ("host.report", &[]),
    ] {
        let head = grown(&format!("request-{method}.json"), path);
        let failure = Request::decode(method, &head).unwrap_err();
        assert!(failure.text.contains("since"), "{method}: {failure:?}");
    }
    for path in [&[][..], &["sub_tasks", "0"]] {
        assert!(wire::Job::decode(&grown("body-job.json", path)).is_err());
    }
    // Free by its nature.
    wire::Job::decode(&grown("body-job.json", &["params"])).unwrap();
}
