//! The stream to a server as it travels: counted, and from an agreed byte on compressed (RFC 4978).
//!
//! What arrives is decompressed straight into the room that the reader has, and no further: however much a few bytes
//! stand for, all that is held of it is that room, the 32 KiB that DEFLATE looks back on, and [`READ_AHEAD`] bytes still
//! compressed. The wire's caps count what comes out.

use std::fmt;
use std::io::{self, Cursor};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_compression::tokio::bufread::DeflateDecoder;
use async_compression::tokio::write::DeflateEncoder;
use tokio::io::{AsyncRead, AsyncWrite, BufReader, ReadBuf};

use super::wire::Transport;

/// How many compressed bytes are read at once.
const READ_AHEAD: usize = 64 * 1024;

/// A stream to a server.
#[derive(Debug)]
pub(super) enum Stream {
    /// As it is.
    Plain(Counted),
    /// Compressed both ways.
    Deflated(Box<DeflateDecoder<BufReader<DeflateEncoder<Counted>>>>),
}

impl Stream {
    /// Starts to count.
    pub(super) fn new(stream: Box<dyn Transport>) -> Self {
        Stream::Plain(Counted { stream, ahead: Cursor::default(), read: 0, written: 0, ended: false })
    }

    /// Compresses from here on, both ways. `ahead` was read already and is the beginning of what is compressed. A flush
    /// of what is written then ends in a sync flush, behind which the other side has all of it.
    pub(super) fn deflate(&mut self, ahead: Vec<u8>) {
        let nothing = Stream::new(Box::new(tokio::io::empty()));
        *self = match std::mem::replace(self, nothing) {
            Stream::Plain(counted) => {
                let encoder = DeflateEncoder::new(Counted { ahead: Cursor::new(ahead), ..counted });
                Stream::Deflated(Box::new(DeflateDecoder::new(BufReader::with_capacity(READ_AHEAD, encoder))))
            }
            deflated @ Stream::Deflated(_) => deflated,
        };
    }

    /// Returns true if it is compressed.
    pub(super) fn is_deflated(&self) -> bool {
        matches!(self, Stream::Deflated(_))
    }

    /// Returns how many bytes were read and written, as they travel.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.counted().read, self.counted().written)
    }

    fn counted(&self) -> &Counted {
        match self {
            Stream::Plain(counted) => counted,
            Stream::Deflated(stream) => stream.get_ref().get_ref().get_ref(),
        }
    }

    /// Returns the stream itself, which must not be compressed.
    pub(super) fn into_plain(self) -> Option<Box<dyn Transport>> {
        match self {
            Stream::Plain(counted) => Some(counted.stream),
            Stream::Deflated(_) => None,
        }
    }

    fn outermost(&mut self) -> Pin<&mut dyn Transport> {
        match self {
            Stream::Plain(counted) => Pin::new(counted),
            Stream::Deflated(stream) => Pin::new(stream.as_mut()),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = self.outermost().poll_read(cx, buffer);
        match read {
            // Compression ends half-way: the connection did.
            Poll::Ready(Err(_)) if self.counted().ended => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            read => read,
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.outermost().poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outermost().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outermost().poll_shutdown(cx)
    }
}

/// Counts what passes. What was read `ahead`, and counted then, comes first.
pub(super) struct Counted {
    stream: Box<dyn Transport>,
    ahead: Cursor<Vec<u8>>,
    read: u64,
    written: u64,
    ended: bool,
}

/// Says nothing of what was read.
impl fmt::Debug for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counted").field("read", &self.read).field("written", &self.written).finish_non_exhaustive()
    }
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.ahead).poll_read(cx, buffer))?;
        if buffer.filled().len() > before {
            return Poll::Ready(Ok(()));
        }
        let read = Pin::new(&mut *self.stream).poll_read(cx, buffer);
        let size = buffer.filled().len() - before;
        self.read += size as u64;
        self.ended |= size == 0 && buffer.remaining() > 0 && matches!(read, Poll::Ready(Ok(())));
        read
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let sent = ready!(Pin::new(&mut *self.stream).poll_write(cx, bytes))?;
        self.written += sent as u64;
        Poll::Ready(Ok(sent))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::script::block_on;
    use proptest::prelude::*;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    /// Returns both ends of a compressed connection that takes so many bytes at a time.
    fn pair(room: usize) -> (Stream, Stream) {
        let (one, other) = duplex(room);
        let (mut one, mut other) = (Stream::new(Box::new(one)), Stream::new(Box::new(other)));
        one.deflate(Vec::new());
        other.deflate(Vec::new());
        (one, other)
    }

    /// So many bytes that hardly shrink, or do.
    fn bytes(size: usize, shrink: bool) -> Vec<u8> {
        let mut state = size as u64 * 7919 + 3;
        let next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let byte = state.to_le_bytes()[0];
            if shrink { b'a' + byte % 4 } else { byte }
        };
        std::iter::repeat_with(next).take(size).collect()
    }

    /// Demands that each part arrives once it is flushed, although nothing follows.
    async fn assert_flushed(room: usize, parts: &[(usize, bool)]) {
        let (mut one, mut other) = pair(room);
        for &(size, shrink) in parts {
            let sent = bytes(size, shrink);
            let write = async {
                one.write_all(&sent).await.unwrap();
                one.flush().await.unwrap();
            };
            let mut got = vec![0; size];
            let both = async { tokio::join!(write, other.read_exact(&mut got)).1.unwrap() };
            let all = tokio::time::timeout(Duration::from_secs(10), both).await;
            assert!(all.is_ok(), "not all of {size} bytes came, of {parts:?}, {room} bytes at a time");
            assert!(got == sent, "{size} bytes, of {parts:?}, {room} at a time, arrived as others");
        }
    }

    /// miniz_oxide fails this.
    #[test]
    fn nothing_flushed_is_kept_back_whatever_its_size() {
        block_on(async {
            for size in (31_700..32_000).chain(63_450..63_600).step_by(10) {
                assert_flushed(1 << 20, &[(size, false)]).await;
            }
        });
    }

    #[test]
    fn what_was_read_ahead_comes_first_and_is_counted_once() {
        block_on(async {
            let mut encoder = DeflateEncoder::new(Vec::new());
            encoder.write_all(b"ahead").await.unwrap();
            encoder.flush().await.unwrap();
            let ahead = encoder.into_inner();
            let (one, mut other) = duplex(1024);
            let mut stream = Stream::new(Box::new(one));
            stream.deflate(ahead[..3].to_vec());
            other.write_all(&ahead[3..]).await.unwrap();
            let mut got = [0; 5];
            stream.read_exact(&mut got).await.unwrap();
            assert_eq!((&got, stream.counts()), (b"ahead", (ahead.len() as u64 - 3, 0)));
        });
    }

    #[test]
    fn a_few_bytes_that_stand_for_many_fill_no_more_than_the_room_there_is() {
        block_on(async {
            let mut encoder = DeflateEncoder::new(Vec::new());
            encoder.write_all(&vec![0; 64 << 20]).await.unwrap();
            encoder.shutdown().await.unwrap();
            let bomb = encoder.into_inner();
            let (one, mut other) = duplex(1024);
            let mut stream = Stream::new(Box::new(one));
            stream.deflate(Vec::new());
            let fill = async {
                // The rest waits: nobody takes it.
                tokio::time::timeout(Duration::from_millis(50), other.write_all(&bomb)).await
            };
            let mut room = vec![0; 1000];
            let read = async { stream.read_exact(&mut room).await.unwrap() };
            let (filled, _) = tokio::join!(fill, read);
            assert!(filled.is_err() && stream.counts().0 <= READ_AHEAD as u64, "{:?}", stream.counts());
        });
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 50, ..ProptestConfig::default() })]
        #[test]
        fn what_is_flushed_arrives(
            room in prop_oneof![16usize..80, Just(8192), 60_000usize..70_000],
            parts in proptest::collection::vec((prop_oneof![1usize..100, 1usize..70_000], any::<bool>()), 1..6),
        ) {
            block_on(assert_flushed(room, &parts));
        }
    }
}
