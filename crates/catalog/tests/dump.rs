//! What one database holds is in another one after a dump and a load, whichever of the two kinds they are.
#![expect(clippy::unwrap_used, reason = "helpers of tests, which may panic")]

#[path = "support/postgres.rs"]
mod postgres;

use jiff::{SignedDuration, Timestamp};
use postgres::Postgres;
use serde_json::json;
use tresor_catalog::{
    AuditRecord, Catalog, CatalogErrorKind, Datasource, HostRecord, HostStanding, HostState,
    TokenRecord, TokenRole, VaultRecord, VmRecord,
};
use tresor_jobs::{JobFilter, JobLog as _, JobQueue as _, NewJob, Owner, SubTaskSpec, Ticket};
use tresor_model::{AuditId, HostId, JobId, JobKind, TokenId, VaultId, VmId};
use tresor_policy::Policy;
use tresor_vault_format::database::{DumpHead, DumpReader, DumpWriter, Part};

const LANE: &str = "local";

fn now() -> Timestamp {
    let micros = Timestamp::now().as_microsecond();
    Timestamp::from_microsecond(micros).unwrap()
}

async fn sqlite(dir: &tempfile::TempDir, name: &str) -> Catalog {
    Catalog::open(&dir.path().join(name)).await.unwrap()
}

async fn dump(catalog: &Catalog) -> Vec<u8> {
    let head = DumpHead {
        schema: 0,
        made_at: now(),
        installation: catalog.installation().await.unwrap(),
        program: "test".to_owned(),
        host: None,
    };
    let mut bytes = Vec::new();
    let mut out = DumpWriter::new(&mut bytes);
    let counts = catalog.dump(head, &[], &mut out).await.unwrap();
    assert_eq!(counts.bytes, bytes.len() as u64);
    bytes
}

/// What a dump says, but for when it was made.
fn rows(dump: &[u8]) -> Vec<String> {
    let text = std::str::from_utf8(dump).unwrap();
    let lines = text.lines().filter(|line| !line.is_empty()).skip(1);
    lines.map(str::to_owned).collect()
}

async fn load(catalog: &Catalog, dump: &[u8], moved: (Option<HostId>, Option<HostId>)) {
    let mut reader = DumpReader::new();
    reader.push(dump);
    let Some(Part::Head(head)) = reader.next_part().unwrap() else {
        panic!("no head");
    };
    let mut loading = catalog.load_dump(&head).await.unwrap();
    while let Some(part) = reader.next_part().unwrap() {
        match part {
            Part::Table { name, columns } => loading.table(&name, &columns).await.unwrap(),
            Part::Row(row) => loading.row(row).await.unwrap(),
            Part::Head(_) | Part::File(_) | Part::End => {}
        }
    }
    reader.finish().unwrap();
    loading.move_host(moved.0, moved.1, LANE).await.unwrap();
    loading.finish().await.unwrap();
}

fn host(name: &str, serial: &str) -> HostRecord {
    HostRecord {
        id: HostId::generate(),
        name: name.to_owned(),
        state: HostState::Enrolled,
        serial: Some(serial.to_owned()),
        enrolled_at: now(),
        last_seen: None,
        version: None,
        capabilities: json!({}),
    }
}

fn job(kind: JobKind, subject: &str) -> NewJob {
    NewJob {
        id: JobId::generate(),
        kind,
        subject: subject.to_owned(),
        lock: Some(format!("lock of {subject}")),
        params: json!({ "with \"quotes\"": "and\nlines \u{1f600}" }),
        sub_tasks: vec![SubTaskSpec {
            name: "One".to_owned(),
            limit_ms: None,
            commits: false,
        }],
        created_at: now(),
    }
}

/// Something of everything that nobody could have back from a vault.
async fn fill(catalog: &Catalog) -> (HostRecord, JobId) {
    let vault = VaultRecord {
        name: "main".to_owned(),
        id: VaultId::generate(),
        location: "/srv/vault".to_owned(),
        settings: None,
        key_source: "file:/x".to_owned(),
        created_at: now(),
        verify_share: None,
    };
    catalog.add_vault(&vault).await.unwrap();
    let node = host("node1", "0a");
    catalog.add_host(&node).await.unwrap();
    for (name, host) in [("here", None), ("there", Some(node.id))] {
        let vm = VmRecord {
            name: name.to_owned(),
            id: VmId::generate(),
            qmp_socket: "/run/x".into(),
            agent_socket: None,
            excluded_disks: vec!["vdb".parse().unwrap()],
            included_disks: Vec::new(),
            machine: None,
            host,
            vault: "main".to_owned(),
            retention: None,
            created_at: now(),
        };
        catalog.add_vm(&vm).await.unwrap();
    }
    let id = VmId::generate();
    let found = Datasource {
        vm: id,
        name: "found".to_owned(),
        qmp_socket: "/run/y".into(),
        agent_socket: None,
        machine: None,
        state: "running".to_owned(),
        problem: None,
    };
    catalog.report(None, &[found], now()).await.unwrap();
    catalog.add_policy(&Policy::nightly(), now()).await.unwrap();
    let token = TokenRecord {
        id: TokenId::generate(),
        name: "admin".to_owned(),
        hash: format!("{:064x}", 7).parse().unwrap(),
        role: TokenRole::Admin,
        created_at: now(),
        expires_at: None,
        last_used_at: None,
        revoked_at: None,
    };
    catalog.add_token(&token).await.unwrap();
    let entry = AuditRecord {
        id: AuditId::generate(),
        at: now(),
        actor: "token".to_owned(),
        action: "policy.set".to_owned(),
        object: "nightly".to_owned(),
        before: None,
        after: Some(json!({ "a": 1 })),
    };
    catalog.append_audit(&entry).await.unwrap();
    let runs = job(JobKind::Backup, "here");
    catalog.begin(&runs, &Owner::current()).await.unwrap();
    let ticket = |lane: &str| Ticket {
        lane: lane.to_owned(),
        not_before: now(),
        rank: 0,
    };
    let waits = job(JobKind::Backup, "waits here");
    catalog.enqueue(&waits, &ticket(LANE)).await.unwrap();
    let keeps = job(JobKind::Collect, "main");
    catalog.enqueue(&keeps, &ticket(LANE)).await.unwrap();
    (node, runs.id)
}

/// Lanes in which jobs wait.
async fn waiting(catalog: &Catalog, lane: &str) -> Vec<String> {
    let due = catalog.due(lane, Timestamp::MAX, 10).await.unwrap();
    due.into_iter().map(|waiting| waiting.job.subject).collect()
}

#[tokio::test]
async fn a_database_goes_to_the_other_kind_and_back() {
    let dir = tempfile::tempdir().unwrap();
    let server = Postgres::start();
    let first = sqlite(&dir, "first.db").await;
    let (node, runs) = fill(&first).await;
    let written = dump(&first).await;
    let before = rows(&written);
    assert!(before.iter().any(|row| row.contains("policy.set")));

    let shared = server.catalog().await;
    assert!(shared.is_blank().await.unwrap());
    let here = host("machine", "");
    load(&shared, &written, (None, None)).await;
    assert!(!shared.is_blank().await.unwrap());
    assert_eq!(rows(&dump(&shared).await).len(), before.len());
    // Which of the machines on the shared database is the one that was alone.
    let here = HostRecord {
        capabilities: json!({ "embedded": true }),
        serial: None,
        ..here
    };
    shared.add_host(&here).await.unwrap();
    let again = dump(&shared).await;
    load(&shared, &again, (None, Some(here.id))).await;
    assert_eq!(shared.vm("here").await.unwrap().host, Some(here.id));
    assert_eq!(shared.vm("there").await.unwrap().host, Some(node.id));
    let lane = here.id.to_string();
    assert_eq!(waiting(&shared, &lane).await, ["waits here"]);
    assert_eq!(waiting(&shared, LANE).await, ["main"]);

    let back = sqlite(&dir, "back.db").await;
    load(&back, &dump(&shared).await, (Some(here.id), None)).await;
    assert_eq!(back.vm("here").await.unwrap().host, None);
    assert!(
        back.host(here.id).await.is_err(),
        "it is this machine itself"
    );
    assert_eq!(waiting(&back, LANE).await, ["waits here", "main"]);
    assert_eq!(
        back.installation().await.unwrap(),
        first.installation().await.unwrap()
    );
    let story = back.load(runs).await.unwrap();
    assert_eq!(story.header.job.params, job(JobKind::Backup, "").params);
    let unfinished = JobFilter {
        unfinished: true,
        ..JobFilter::default()
    };
    assert_eq!(back.list(&unfinished).await.unwrap().len(), 3);
}

#[tokio::test]
async fn what_cannot_be_true_any_more_is_set_right() {
    let dir = tempfile::tempdir().unwrap();
    let first = sqlite(&dir, "first.db").await;
    let (node, runs) = fill(&first).await;
    let in_an_hour = now() + SignedDuration::from_hours(1);
    let hash = format!("{:064x}", 9).parse().unwrap();
    first
        .add_enrolment(&tresor_catalog::EnrolmentRecord {
            hash,
            host_name: None,
            created_at: now(),
            expires_at: in_an_hour,
            used_at: None,
            host: None,
        })
        .await
        .unwrap();
    let second = sqlite(&dir, "second.db").await;
    load(&second, &dump(&first).await, (None, None)).await;
    // The host has renewed its certificate since; the first that it shows counts, and no other one.
    for (serial, expected) in [
        ("0b", HostStanding::Current),
        ("0b", HostStanding::Current),
        ("0a", HostStanding::Replaced),
    ] {
        let standing = second.host_standing(node.id, serial).await.unwrap();
        assert_eq!(standing, expected, "{serial}");
    }
    let header = second.load(runs).await.unwrap().header;
    assert_eq!(header.heartbeat_at, Timestamp::UNIX_EPOCH);
    let open = second
        .enrolments(&tresor_catalog::Page::default())
        .await
        .unwrap();
    assert!(
        open.iter().all(|token| token.expires_at <= now()),
        "{open:?}"
    );
}

#[tokio::test]
async fn a_load_that_is_given_up_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = sqlite(&dir, "first.db").await;
    fill(&catalog).await;
    let before = rows(&dump(&catalog).await);
    let mut head = DumpHead {
        schema: 10,
        made_at: now(),
        installation: VmId::generate_database(),
        program: "test".to_owned(),
        host: None,
    };
    {
        let mut loading = catalog.load_dump(&head).await.unwrap();
        let name = "vaults".to_owned();
        loading.table(&name, &["name".to_owned()]).await.unwrap();
        let wrong = loading.table("sqlite_master", &["name".to_owned()]).await;
        assert_eq!(wrong.unwrap_err().kind, CatalogErrorKind::Damaged);
        let wrong = loading.table("vaults", &["name\" --".to_owned()]).await;
        assert_eq!(wrong.unwrap_err().kind, CatalogErrorKind::Damaged);
    }
    assert_eq!(rows(&dump(&catalog).await), before);
    head.schema = 10_000;
    let newer = catalog.load_dump(&head).await.map(drop).unwrap_err();
    assert!(matches!(newer.kind, CatalogErrorKind::VersionTooNew { .. }));
}

#[tokio::test]
async fn a_dump_of_an_older_schema_is_brought_up_to_date() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = sqlite(&dir, "first.db").await;
    let old = concat!(
        r#"{"tresor":"database","version":1,"schema":4,"made_at":"2026-01-01T00:00:00Z","#,
        r#""installation":"74726573-6f72-8d62-8123-456789abcdef","program":"0","host":null}"#,
        "\n",
        r#"{"table":"jobs","columns":["id","kind","subject","params","sub_tasks","created_at","state","ended","next_seq","owner","epoch","heartbeat_at","cancel_requested"]}"#,
        "\n",
        r#"["01936f3e-0000-7000-8000-000000000001","backup","web01","{}","[]",0,"completed",1,1,"null",1,0,0]"#,
        "\n",
        r#"{"end":{"tables":1,"rows":1}}"#,
        "\n"
    );
    load(&catalog, old.as_bytes(), (None, None)).await;
    // The step that counts what ended has counted it.
    let tallies = catalog.tallies().await.unwrap();
    assert_eq!(tallies.len(), 1, "{tallies:?}");
}
