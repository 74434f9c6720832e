//! The reading side of a connection: takes replies off the stream, one after another, for ever.
//!
//! Every byte is accounted for before the next header is looked at. The first byte that cannot be accounted for ends
//! the loop with a violation: there is no way back into step.

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::{
    error::{Error, ErrorKind, Result, Violation},
    outstanding::{Outstanding, Work},
    wire::{
        reply::{
            ChunkHeader, ChunkKind, Descriptor, EXTENDED_HEADER, ErrorChunk, MAGIC_EXTENDED,
            MAGIC_SIMPLE, MAGIC_STRUCTURED, SIMPLE_HEADER, STRUCTURED_HEADER, SimpleHeader,
        },
        request::Framing,
    },
};

/// Descriptors are received in pieces of this size, so that memory grows with what has come, not with what was
/// announced. A multiple of both sizes of a descriptor.
const PIECE: usize = 64 << 10;

/// The reading side.
pub(crate) struct Receiver<R> {
    stream: R,
    framing: Framing,
    outstanding: Outstanding,
}

impl<R: AsyncRead + Unpin> Receiver<R> {
    pub(crate) fn new(stream: R, framing: Framing, outstanding: Outstanding) -> Self {
        Self {
            stream,
            framing,
            outstanding,
        }
    }

    /// Returns only to say why nothing more can be received.
    pub(crate) async fn run(mut self) -> Error {
        loop {
            if let Err(error) = self.reply().await {
                return error;
            }
        }
    }

    async fn reply(&mut self) -> Result<()> {
        let magic = self.stream.read_u32().await.map_err(lost)?;
        match (self.framing, magic) {
            (Framing::Simple | Framing::Structured, MAGIC_SIMPLE) => {
                let header = SimpleHeader::decode(&self.array::<SIMPLE_HEADER>().await?)?;
                self.simple(header).await
            }
            (Framing::Structured, MAGIC_STRUCTURED) => {
                let header =
                    ChunkHeader::decode_structured(&self.array::<STRUCTURED_HEADER>().await?)?;
                self.chunk(header).await
            }
            (Framing::Extended, MAGIC_EXTENDED) => {
                let header = ChunkHeader::decode_extended(&self.array::<EXTENDED_HEADER>().await?)?;
                self.chunk(header).await
            }
            _ => Err(Violation::new(format!("reply with magic {magic:#x}")).into()),
        }
    }

    async fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.stream.read_exact(&mut bytes).await.map_err(lost)?;
        Ok(bytes)
    }

    async fn simple(&mut self, header: SimpleHeader) -> Result<()> {
        let mut work = self.outstanding.take(header.cookie)?;
        if let Some(errno) = header.error {
            self.outstanding.complete(header.cookie);
            let place = format!("at byte {}", work.offset());
            work.fail(Error::new(ErrorKind::Server(errno), place));
            return Ok(());
        }
        match &mut work {
            Work::Read(read, _) if self.framing == Framing::Simple => {
                self.stream
                    .read_exact(read.claim_all()?)
                    .await
                    .map_err(lost)?;
            }
            _ => return Err(Violation::new("simple reply where chunks were agreed on").into()),
        }
        self.outstanding.complete(header.cookie);
        Ok(work.finish()?)
    }

    async fn chunk(&mut self, header: ChunkHeader) -> Result<()> {
        let mut work = self.outstanding.take(header.cookie)?;
        if header.offset.is_some_and(|offset| offset != work.offset()) {
            return Err(Violation::new("reply with the offset of another request").into());
        }
        self.payload(header, &mut work).await?;
        if header.done {
            self.outstanding.complete(header.cookie);
            work.finish()?;
        } else {
            self.outstanding.put_back(header.cookie, work);
        }
        Ok(())
    }

    /// Receives exactly `header.length` bytes: the header's decoder has matched that length to the kind of chunk.
    async fn payload(&mut self, header: ChunkHeader, work: &mut Work) -> Result<()> {
        match (header.kind, work) {
            (ChunkKind::None, _) => {}
            (ChunkKind::OffsetData, Work::Read(read, _)) => {
                read.admit(header.length - 8)?;
                let offset = self.stream.read_u64().await.map_err(lost)?;
                let part = read.claim(offset, header.length - 8)?;
                self.stream.read_exact(part).await.map_err(lost)?;
            }
            (ChunkKind::OffsetHole, Work::Read(read, _)) => {
                let offset = self.stream.read_u64().await.map_err(lost)?;
                let length = self.stream.read_u32().await.map_err(lost)?;
                read.hole(offset, length)?;
            }
            (ChunkKind::BlockStatus, work @ Work::Status(..)) => {
                self.descriptors(header.length - 4, false, work).await?;
            }
            (ChunkKind::BlockStatusExtended, work @ Work::Status(..)) => {
                self.descriptors(header.length - 8, true, work).await?;
            }
            (ChunkKind::Error { has_offset }, work) => {
                // Bounded: the header is refused when it announces more than a few KiB.
                let mut payload = vec![0; usize::try_from(header.length).unwrap_or(0)];
                self.stream.read_exact(&mut payload).await.map_err(lost)?;
                let error = ErrorChunk::decode(&payload, has_offset)?;
                match work {
                    Work::Read(read, _) => read.error(&error)?,
                    Work::Status(status, _) => status.error(&error)?,
                }
            }
            (kind, _) => {
                return Err(Violation::new(format!(
                    "{kind:?} chunk for a request of another kind"
                ))
                .into());
            }
        }
        Ok(())
    }

    /// One context's run of descriptors: `length` bytes of them, 16 each when `wide`, else 8.
    async fn descriptors(&mut self, length: u64, wide: bool, work: &mut Work) -> Result<()> {
        let Work::Status(status, _) = work else {
            return Ok(());
        };
        let count = length / if wide { 16 } else { 8 };
        status.admit(count)?;
        let context = self.stream.read_u32().await.map_err(lost)?;
        if wide {
            let announced = self.stream.read_u32().await.map_err(lost)?;
            if announced != 0 && u64::from(announced) != count {
                return Err(Violation::new("count of extents that is not their number").into());
            }
        }
        status.begin(context)?;
        let mut left = length;
        let mut buffer = vec![0; PIECE.min(usize::try_from(length).unwrap_or(PIECE))];
        while left > 0 {
            let piece = buffer.len().min(usize::try_from(left).unwrap_or(PIECE));
            self.stream
                .read_exact(&mut buffer[..piece])
                .await
                .map_err(lost)?;
            for descriptor in Descriptor::decode_all(&buffer[..piece], wide) {
                status.push(descriptor)?;
            }
            left -= piece as u64;
        }
        Ok(())
    }
}

fn lost(source: std::io::Error) -> Error {
    Error::lost("while receiving")(source)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::{BufMut, BytesMut};
    use proptest::prelude::*;
    use tokio::sync::{Semaphore, mpsc, oneshot};

    use super::*;
    use crate::{
        assembly::{ReadAssembly, StatusAssembly},
        plan::Window,
    };

    const WINDOW: Window = Window {
        offset: 512,
        length: 1024,
    };

    /// Feeds a stream to a receiver with a read (cookie 1) and a block status (cookie 2) outstanding.
    async fn feed(stream: &[u8], framing: Framing) -> (Error, Option<Result<bytes::Bytes>>) {
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
            let permit = Arc::clone(&budget).acquire_owned().await.unwrap();
            outstanding.send(work, permit).unwrap();
        }
        (
            Receiver::new(stream, framing, outstanding).run().await,
            read.try_recv().ok(),
        )
    }

    fn chunk(
        done: bool,
        kind: u16,
        cookie: u64,
        offset: u64,
        length: u32,
        data: &[u8],
    ) -> BytesMut {
        let mut out = BytesMut::new();
        out.put_u32(MAGIC_STRUCTURED);
        out.put_u16(u16::from(done));
        out.put_u16(kind);
        out.put_u64(cookie);
        let mut payload = BytesMut::new();
        match kind {
            1 => payload.put_u64(offset),
            2 => {
                payload.put_u64(offset);
                payload.put_u32(length);
            }
            5 => payload.put_slice(&[0, 0, 0, 1, 0, 0, 2, 0, 0, 0, 0, 0]),
            _ => {}
        }
        if kind == 1 || kind > 5 {
            payload.put_slice(data);
        }
        out.put_u32(u32::try_from(payload.len()).unwrap());
        out.extend_from_slice(&payload);
        out
    }

    proptest! {
        #[test]
        fn any_stream_ends_in_an_error_and_never_in_a_panic(stream in prop::collection::vec(any::<u8>(), 0..200)) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            for framing in [Framing::Simple, Framing::Structured, Framing::Extended] {
                let (error, _) = runtime.block_on(feed(&stream, framing));
                prop_assert!(matches!(error.kind(), ErrorKind::Protocol | ErrorKind::ConnectionLost));
            }
        }

        #[test]
        fn chunks_in_any_order_answer_a_read_in_full_or_not_at_all(
            chunks in prop::collection::vec(
                (any::<bool>(), prop::sample::select(vec![0_u16, 1, 1, 2, 2, 5, 0x8001]), 1_u64..3, 0_u64..4, 1_u32..3),
                0..8,
            ),
        ) {
            let mut stream = BytesMut::new();
            for (done, kind, cookie, block, blocks) in chunks {
                let data = vec![7; blocks as usize * 512];
                stream.extend_from_slice(&chunk(done, kind, cookie, block * 512, blocks * 512, &data));
            }
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (_, read) = runtime.block_on(feed(&stream, Framing::Structured));
            if let Some(Ok(data)) = read {
                prop_assert_eq!(data.len(), 1024);
                prop_assert!(data.chunks(512).all(|block| block.iter().all(|byte| *byte == block[0])));
            }
        }
    }
}
