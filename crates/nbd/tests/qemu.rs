//! Against QEMU's servers: `qemu-nbd` and `qemu-storage-daemon`.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "helpers of tests"
)]

mod support;

use std::{path::Path, process::Command, sync::Arc, time::Duration};

use support::{
    MIB, Server, flagged, nbdkit, options, pattern, qemu_img, qemu_io, run, socket_in, text,
};
use tempfile::TempDir;
use tresor_nbd::{
    ALLOCATION_ZERO, BASE_ALLOCATION, BITMAP_DIRTY, Client, ConnectOptions, ErrorKind,
    dirty_bitmap_context,
};

async fn qemu_nbd(dir: TempDir, image: &str, format: &str, more: &[&str]) -> Server {
    let mut command = Command::new("qemu-nbd");
    command.args([
        "--persistent",
        "--read-only",
        "--shared=8",
        "--export-name=disk",
        "--format",
        format,
    ]);
    command
        .args(more)
        .arg("--socket")
        .arg(socket_in(dir.path()))
        .arg(dir.path().join(image));
    Server::start(dir, command, "qemu-utils").await
}

/// 64 MiB, with data in its 5th MiB and near the end, and every block of the rest a hole.
fn sparse_raw(image: &Path) -> Vec<u8> {
    let mut disk = vec![0; 64 * MIB as usize];
    disk[4 << 20..5 << 20].copy_from_slice(&pattern(1 << 20));
    disk[63 << 20..][..65536].copy_from_slice(&pattern(65536));
    let file = std::fs::File::create(image).unwrap();
    file.set_len(disk.len() as u64).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &disk[4 << 20..5 << 20], 4 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &disk[63 << 20..][..65536], 63 << 20).unwrap();
    file.sync_all().unwrap();
    disk
}

/// A qcow2 image of 64 MiB: clusters written before the bitmap `changes` began, and after.
fn qcow2_with_bitmap(image: &Path) {
    qemu_img(&["create", "-q", "-f", "qcow2", text(image), "64M"]);
    qemu_io(image, "qcow2", &["write -P 1 0 4M"]);
    qemu_img(&["bitmap", "--add", "-g", "65536", text(image), "changes"]);
    qemu_io(
        image,
        "qcow2",
        &[
            "write -P 2 1M 64k",
            "write -P 3 32M 128k",
            "write -z 40M 1M",
        ],
    );
}

const CHANGED: [(u64, u64); 3] = [(MIB, 65536), (32 * MIB, 131_072), (40 * MIB, MIB)];

#[tokio::test(flavor = "multi_thread")]
async fn a_raw_image_reads_as_its_file_through_several_connections() {
    let dir = tempfile::tempdir().unwrap();
    let disk = sparse_raw(&dir.path().join("disk.raw"));
    let server = qemu_nbd(dir, "disk.raw", "raw", &[]).await;
    let client = Arc::new(server.connect("disk", &options(4, &[])).await.unwrap());
    assert_eq!(
        (
            client.info().size,
            client.info().read_only,
            client.connections()
        ),
        (64 * MIB, true, 4)
    );

    assert_eq!(
        client.read(0, 64 * MIB).await.unwrap(),
        disk,
        "split at the largest request"
    );
    let reads = (0..200_u64).map(|turn| {
        let (client, disk) = (Arc::clone(&client), &disk);
        async move {
            let (offset, length) = ((turn * 7_654_321) % (63 * MIB), (turn * 4567) % 100_000);
            let (from, to) = (offset as usize, (offset + length) as usize);
            assert_eq!(
                client.read(offset, length).await.unwrap(),
                disk[from..to],
                "{length} at {offset}"
            );
        }
    });
    futures::future::join_all(reads).await;

    assert_eq!(client.read(64 * MIB, 0).await.unwrap().len(), 0);
    assert_eq!(
        client.read(64 * MIB, 1).await.unwrap_err().kind(),
        ErrorKind::Invalid
    );
    client.disconnect().await.unwrap();
    assert_eq!(
        client.read(0, 1).await.unwrap_err().kind(),
        ErrorKind::Disconnected
    );
}

#[tokio::test]
async fn allocation_agrees_with_qemu_img_map() {
    let dir = tempfile::tempdir().unwrap();
    sparse_raw(&dir.path().join("disk.raw"));
    let server = qemu_nbd(dir, "disk.raw", "raw", &[]).await;
    let client = server
        .connect("disk", &options(1, &[BASE_ALLOCATION]))
        .await
        .unwrap();
    let status = client.map(0, 64 * MIB).await.unwrap();
    let zeroes = flagged(&status[BASE_ALLOCATION], ALLOCATION_ZERO);

    let map = qemu_img(&[
        "map",
        "-f",
        "raw",
        "--output=human",
        text(&server.dir().join("disk.raw")),
    ]);
    let data: Vec<(u64, u64)> = map
        .lines()
        .skip(1)
        .map(|line| {
            let mut fields = line
                .split_whitespace()
                .map(|field| u64::from_str_radix(field.trim_start_matches("0x"), 16));
            (
                fields.next().unwrap().unwrap(),
                fields.next().unwrap().unwrap(),
            )
        })
        .collect();
    assert_eq!(data, [(4 * MIB, MIB), (63 * MIB, 65536)]);
    assert_eq!(
        zeroes,
        [
            (0, 4 * MIB),
            (5 * MIB, 58 * MIB),
            (63 * MIB + 65536, MIB - 65536)
        ]
    );

    let part = client.block_status(4 * MIB - 100, 300).await.unwrap();
    let lengths: Vec<_> = part[BASE_ALLOCATION]
        .iter()
        .map(|extent| (extent.length, extent.flags))
        .collect();
    assert_eq!(lengths[0].0, 100, "clipped at both ends: {lengths:?}");
    assert_eq!(lengths.iter().map(|(length, _)| length).sum::<u64>(), 300);
}

#[tokio::test]
async fn a_persistent_bitmap_and_allocation_come_in_one_session() {
    let dir = tempfile::tempdir().unwrap();
    qcow2_with_bitmap(&dir.path().join("disk.qcow2"));
    let server = qemu_nbd(dir, "disk.qcow2", "qcow2", &["--bitmap=changes"]).await;
    let bitmap = dirty_bitmap_context("changes");
    let client = server
        .connect("disk", &options(3, &[BASE_ALLOCATION, &bitmap]))
        .await
        .unwrap();
    let status = client.map(0, 64 * MIB).await.unwrap();
    assert_eq!(flagged(&status[bitmap.as_str()], BITMAP_DIRTY), CHANGED);
    assert_eq!(
        flagged(&status[BASE_ALLOCATION], 0),
        [(0, 64 * MIB)],
        "the whole window is covered"
    );
    assert_eq!(
        flagged(&status[BASE_ALLOCATION], ALLOCATION_ZERO),
        [
            (4 * MIB, 28 * MIB),
            (32 * MIB + 131_072, 32 * MIB - 131_072)
        ]
    );
    assert_eq!(client.read(MIB, 65536).await.unwrap(), vec![2; 65536]);
    assert_eq!(client.read(40 * MIB, 65536).await.unwrap(), vec![0; 65536]);
    client.disconnect().await.unwrap();
}

/// The daemon's socket is there a moment before its export is.
async fn connect_when_exported(server: &Server, export: &str, options: &ConnectOptions) -> Client {
    let attempts = async {
        loop {
            match server.connect(export, options).await {
                Err(error) if error.kind() == ErrorKind::ExportUnknown => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                outcome => break outcome.unwrap(),
            }
        }
    };
    tokio::time::timeout(support::PATIENCE, attempts)
        .await
        .expect("the daemon exports the disk")
}

#[tokio::test]
async fn a_storage_daemon_exports_a_bitmap_and_allocation() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("disk.qcow2");
    qcow2_with_bitmap(&image);
    // A bitmap that still records cannot be exported read-only.
    qemu_img(&["bitmap", "--disable", text(&image), "changes"]);
    let mut command = Command::new("qemu-storage-daemon");
    command.args([
        "--blockdev",
        &format!("driver=file,node-name=file,filename={}", text(&image)),
    ]);
    command.args(["--blockdev", "driver=qcow2,node-name=disk,file=file"]);
    command.args([
        "--nbd-server",
        &format!("addr.type=unix,addr.path={}", text(&socket_in(dir.path()))),
    ]);
    command.args([
        "--export",
        "type=nbd,id=e,node-name=disk,name=vda,bitmaps.0=changes",
    ]);
    let server = Server::start(dir, command, "qemu-system-common").await;

    let bitmap = dirty_bitmap_context("changes");
    let client =
        connect_when_exported(&server, "vda", &options(4, &[BASE_ALLOCATION, &bitmap])).await;
    let status = client.map(0, 64 * MIB).await.unwrap();
    assert_eq!(flagged(&status[bitmap.as_str()], BITMAP_DIRTY), CHANGED);
    let tail = client.map(32 * MIB, 4 * MIB).await.unwrap();
    assert_eq!(
        flagged(&tail[bitmap.as_str()], BITMAP_DIRTY),
        [(0, 131_072)]
    );
    client.disconnect().await.unwrap();
}

#[tokio::test]
async fn a_window_beyond_32_bits_is_covered() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("disk.qcow2");
    qemu_img(&["create", "-q", "-f", "qcow2", text(&image), "9T"]);
    qemu_io(&image, "qcow2", &["write -P 1 8T 64k"]);
    let server = qemu_nbd(dir, "disk.qcow2", "qcow2", &[]).await;
    let client = server
        .connect("disk", &options(1, &[BASE_ALLOCATION]))
        .await
        .unwrap();
    let once = client.block_status(0, 9 << 40).await.unwrap();
    assert!(
        once[BASE_ALLOCATION][0].length > 1 << 32,
        "64-bit headers are in use: {once:?}"
    );
    let status = client.map(0, 9 << 40).await.unwrap();
    let zeroes = flagged(&status[BASE_ALLOCATION], ALLOCATION_ZERO);
    assert_eq!(
        zeroes,
        [(0, 8 << 40), ((8 << 40) + 65536, (1 << 40) - 65536)]
    );
}

#[tokio::test]
async fn unknown_exports_and_contexts_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    sparse_raw(&dir.path().join("disk.raw"));
    let server = qemu_nbd(dir, "disk.raw", "raw", &[]).await;
    let unknown = server.connect("other", &options(1, &[])).await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::ExportUnknown, "{unknown}");
    let unknown = server
        .connect("other", &options(1, &[BASE_ALLOCATION]))
        .await
        .unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::ExportUnknown, "{unknown}");
    let unknown = server
        .connect(
            "disk",
            &options(1, &[BASE_ALLOCATION, "qemu:dirty-bitmap:none"]),
        )
        .await
        .unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::ContextUnknown, "{unknown}");
    assert!(
        unknown.to_string().contains(BASE_ALLOCATION),
        "says what there is: {unknown}"
    );
    let twice = server
        .connect("disk", &options(1, &[BASE_ALLOCATION, BASE_ALLOCATION]))
        .await
        .unwrap_err();
    assert_eq!(twice.kind(), ErrorKind::Invalid, "{twice}");
    let offered = Client::list_contexts(&server.address(), "disk", support::PATIENCE)
        .await
        .unwrap();
    assert_eq!(offered, [BASE_ALLOCATION]);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_clients_see_the_same_bytes() {
    let server = nbdkit(&["pattern", "size=16M"]).await;
    let client = server.connect("", &options(1, &[])).await.unwrap();
    let ours = client.read(0, 16 * MIB).await.unwrap();
    let copy = server.dir().join("copy.raw");
    let uri = format!("nbd+unix:///?socket={}", text(&socket_in(server.dir())));
    run("nbdcopy", &[&uri, text(&copy)], "libnbd-bin");
    assert_eq!(ours, std::fs::read(&copy).unwrap());
}
