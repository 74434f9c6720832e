//! For the fuzz targets: what a server sends, from memory. Built with the feature `fuzzing` only.

use std::sync::Arc;

use tokio::{
    io::sink,
    sync::{Semaphore, mpsc, oneshot},
};

use crate::{
    address::{ReadHalf, WriteHalf},
    assembly::{ReadAssembly, StatusAssembly},
    handshake::Handshake,
    outstanding::{Outstanding, Work},
    plan::Window,
    receive::Receiver,
    wire::request::Framing,
};

/// A whole handshake; true when it comes to an export.
pub async fn handshake(server: Vec<u8>) -> bool {
    let mut read: ReadHalf = Box::new(std::io::Cursor::new(server));
    let mut write: WriteHalf = Box::new(sink());
    let Ok(mut begun) = Handshake::begin(&mut read, &mut write).await else {
        return false;
    };
    let contexts = ["base:allocation".to_owned()];
    begun.enter("export", &contexts).await.is_ok()
}

/// Replies to a read (cookie 1) and a block status (cookie 2), both of 1 KiB at byte 512; the first
/// byte says which framing was agreed on. Gives how many bytes were read, when they were.
pub async fn replies(stream: &[u8]) -> Option<usize> {
    const WINDOW: Window = Window {
        offset: 512,
        length: 1024,
    };
    let (first, stream) = stream.split_first()?;
    let framing = match first % 3 {
        0 => Framing::Simple,
        1 => Framing::Structured,
        _ => Framing::Extended,
    };
    let budget = Arc::new(Semaphore::new(2));
    let (writer, _requests) = mpsc::unbounded_channel();
    let outstanding = Outstanding::new(framing, writer);
    let (read_reply, mut read) = oneshot::channel();
    let (status_reply, _status) = oneshot::channel();
    let contexts = Arc::from([(1, Arc::from("a"))]);
    for work in [
        Work::Read(ReadAssembly::new(WINDOW), read_reply),
        Work::Status(StatusAssembly::new(WINDOW, contexts, None), status_reply),
    ] {
        let permit = Arc::clone(&budget).acquire_owned().await.ok()?;
        outstanding.send(work, permit).ok()?;
    }
    Receiver::new(stream, framing, outstanding).run().await;
    Some(read.try_recv().ok()?.ok()?.len())
}
