//! Our process dies after any number of QMP commands: a proxy lets so many through and then cuts
//! the connection, also in the middle of the swap, where QEMU has heard `stop` and not `cont`.
//! After `release` by tag nothing of ours is left, the VM runs, and the next incremental is right.
#![allow(missing_docs)]

mod vm;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
};
use tresor_disk::{Error, Orphan, Outcome, PauseMode, PrepareRequest, SnapshotProvider};
use tresor_disk_qemu::{QemuConfig, QemuProvider};
use vm::{GRAIN, Vm, assert_same, blank, grains, ledger, paint, restore, snapshot, stream};

/// More commands than any of the operations needs.
const MOST: usize = 400;

/// Listens on `path` and lets `allowed` commands through to `target`, over all connections.
/// Afterwards every connection is cut.
fn proxy(path: PathBuf, target: PathBuf, allowed: usize) -> tokio::task::JoinHandle<()> {
    let listener = UnixListener::bind(path).expect("binds");
    let left = Arc::new(AtomicUsize::new(allowed));
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let Ok(server) = UnixStream::connect(&target).await else {
                continue;
            };
            let left = Arc::clone(&left);
            pump(client, server, &left).await;
        }
    })
}

async fn pump(client: UnixStream, server: UnixStream, left: &AtomicUsize) {
    let (from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let mut commands = BufReader::new(from_client).split(b'\n');
    let forward = async {
        while let Ok(Some(mut command)) = commands.next_segment().await {
            let spent = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
            if spent.is_err() {
                return;
            }
            command.push(b'\n');
            if to_server.write_all(&command).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = forward => {}
        _ = tokio::io::copy(&mut from_server, &mut to_client) => {}
    }
}

/// The whole life of a snapshot, as far as it comes.
async fn live(
    provider: &QemuProvider,
    request: PrepareRequest,
    outcome: Outcome,
) -> Result<(), Error> {
    let prepared = provider.prepare(request).await?;
    let session = prepared.take(PauseMode::StopVm).await?;
    session.open(&stream("vda")).await?;
    session.end(outcome).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_after_any_command_a_release_puts_everything_right() {
    let vm = Vm::start().await;
    let provider = vm.provider().await;
    vm.write("vda", 1, 0, GRAIN).await;
    let session = snapshot(&provider, vm.request(&[("vda", None)]), PauseMode::StopVm).await;
    let mut base = blank();
    restore(session.as_ref(), "vda", &mut base).await;
    let first = ledger(session.as_ref(), "vda");
    session.end(Outcome::Committed).await.expect("ends");

    let mut truth = base.clone();
    let mut survived = None;
    for allowed in 0..MOST {
        let socket = vm.path(&format!("proxy{allowed}"));
        let cut = proxy(socket.clone(), vm.path("qmp"), allowed);
        let dying = QemuProvider::unconnected(QemuConfig {
            qmp: socket,
            ..vm.config()
        });
        let request = vm.request(&[("vda", Some(&first)), ("vdb", None)]);
        let tag = request.tag.clone();
        let result = live(&dying, request, Outcome::Abandoned).await;
        cut.abort();
        // "The guest" goes on in between, in a place of its own each time.
        let place = u64::try_from(allowed).expect("small") % 100 * GRAIN;
        let pattern = u8::try_from(allowed % 200).expect("small") + 3;
        if vm.is_running().await {
            vm.write("vda", pattern, place, 512).await;
            paint(&mut truth, pattern, place, 512);
        }
        provider
            .release(&tag, Outcome::Abandoned)
            .await
            .expect("releases");
        assert_eq!(
            vm.leftovers().await,
            Vec::<String>::new(),
            "after {allowed} commands"
        );
        assert!(vm.is_running().await, "after {allowed} commands");
        let kept = first.bitmap.clone().expect("has one");
        assert_eq!(
            vm.bitmap_names("vda.qcow2").await,
            [kept],
            "after {allowed} commands"
        );
        assert_eq!(vm.bitmap_names("vdb.qcow2").await, Vec::<String>::new());
        if result.is_ok() {
            survived = Some(allowed);
            break;
        }
    }
    let commands = survived.expect("with enough commands it succeeds");
    assert!(commands > 20, "{commands} commands for a whole snapshot?");

    let request = vm.request(&[("vda", Some(&first))]);
    let session = snapshot(&provider, request, PauseMode::StopVm).await;
    assert!(!grains(session.as_ref(), "vda").await.is_empty());
    let mut restored = base;
    restore(session.as_ref(), "vda", &mut restored).await;
    assert_same(&restored, &truth);
    session.end(Outcome::Committed).await.expect("ends");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_killed_after_any_command_is_finished_by_the_next() {
    let vm = Vm::start().await;
    let provider = vm.provider().await;
    for outcome in [Outcome::Committed, Outcome::Abandoned] {
        let session = snapshot(&provider, vm.request(&[("vda", None)]), PauseMode::StopVm).await;
        let mut previous = ledger(session.as_ref(), "vda");
        session.end(Outcome::Committed).await.expect("ends");
        for allowed in 0..MOST {
            let request = vm.request(&[("vda", Some(&previous))]);
            let tag = request.tag.clone();
            let session = snapshot(&provider, request, PauseMode::StopVm).await;
            session.open(&stream("vda")).await.expect("opens");
            let next = ledger(session.as_ref(), "vda");
            drop(session);

            let socket = vm.path(&format!("{outcome:?}{allowed}"));
            let cut = proxy(socket.clone(), vm.path("qmp"), allowed);
            let dying = QemuProvider::unconnected(QemuConfig {
                qmp: socket,
                ..vm.config()
            });
            let result = dying.release(&tag, outcome).await;
            cut.abort();
            provider.release(&tag, outcome).await.expect("releases");
            assert_eq!(
                vm.leftovers().await,
                Vec::<String>::new(),
                "after {allowed} commands"
            );
            if outcome == Outcome::Committed {
                previous = next;
            }
            let kept = previous.bitmap.clone().expect("has one");
            assert_eq!(
                vm.bitmap_names("vda.qcow2").await,
                [kept],
                "after {allowed} commands"
            );
            if result.is_ok() {
                assert!(allowed > 10, "{allowed} commands for a whole release?");
                break;
            }
        }
        // The other outcome begins a chain of its own: this one's bitmap is an orphan then.
        let orphans = provider.find_orphans(&[]).await.expect("asks");
        let bitmap = Orphan {
            tag: previous.tag.clone(),
            only_bitmaps: true,
        };
        assert_eq!(orphans, [bitmap]);
        provider
            .release(&previous.tag, Outcome::Abandoned)
            .await
            .expect("releases");
    }
}
