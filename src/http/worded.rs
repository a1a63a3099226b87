//! What the HTTP library says by itself of a request that is none: a bare status. Here it gets the
//! body that every other refusal has, so that whoever reads answers needs no special case.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The content type and the body for a status and why.
pub type Wording = fn(status: u16, why: &str) -> (&'static str, String);

/// Statuses that hyper answers by itself, with what they mean.
const BARE: [(&[u8], u16, &str, &str); 3] = [
    (b"HTTP/1.1 400 ", 400, "Bad Request", "not a request of HTTP/1.1"),
    (b"HTTP/1.1 414 ", 414, "URI Too Long", "the target is too long"),
    (b"HTTP/1.1 431 ", 431, "Request Header Fields Too Large", "the head is too large"),
];
/// A bare answer is a head of three lines.
const BARE_BYTES: usize = 200;

/// A stream that puts a refusal's words where there are none.
pub(super) struct Worded<S> {
    stream: S,
    wording: Wording,
    /// What is written in place of a bare answer: the text, how much of it is out, and the length of
    /// what it replaces.
    instead: Option<(Vec<u8>, usize, usize)>,
}

impl<S> Worded<S> {
    pub(super) fn new(stream: S, wording: Wording) -> Self {
        Self { stream, wording, instead: None }
    }

    fn replacement(&self, bare: &[u8]) -> Option<Vec<u8>> {
        if !bare.starts_with(b"HTTP/1.1 4") || bare.len() > BARE_BYTES {
            return None;
        }
        let (_, status, reason, why) = BARE.iter().find(|(start, ..)| bare.starts_with(start))?;
        let head = std::str::from_utf8(bare).ok()?;
        if !head.ends_with("\r\n\r\n") || !head.contains("content-length: 0\r\n") {
            return None;
        }
        metrics::counter!("quell_malformed_requests_total").increment(1);
        let (kind, body) = (self.wording)(*status, why);
        let length = body.len();
        Some(
            format!(
                "HTTP/1.1 {status} {reason}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\
                 connection: close\r\n\r\n{body}"
            )
            .into(),
        )
    }
}

impl<S: AsyncWrite + Unpin> Worded<S> {
    fn poll_instead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        while let Some((text, out, replaced)) = &mut self.instead {
            if *out == text.len() {
                let replaced = *replaced;
                self.instead = None;
                return Poll::Ready(Ok(replaced));
            }
            match ready!(Pin::new(&mut self.stream).poll_write(cx, &text[*out..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => *out += written,
            }
        }
        Poll::Ready(Ok(0))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Worded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Worded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.instead.is_none() {
            self.instead = self.replacement(buf).map(|text| (text, 0, buf.len()));
        }
        if self.instead.is_some() {
            return self.poll_instead(cx);
        }
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // A bare answer has a head and nothing else.
        let mut full = bufs.iter().filter(|buf| !buf.is_empty());
        if let (Some(head), None) = (full.next(), full.next()) {
            return self.poll_write(cx, head);
        }
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn written(bytes: &[u8], room: usize) -> String {
        let (ours, mut theirs) = tokio::io::duplex(room);
        let mut worded =
            Worded::new(ours, |status, why| ("text/plain", format!("{status}: {why}")));
        let bytes = bytes.to_vec();
        let writing = tokio::spawn(async move {
            worded.write_all(&bytes).await.unwrap();
            worded.shutdown().await.unwrap();
        });
        let mut read = String::new();
        theirs.read_to_string(&mut read).await.unwrap();
        writing.await.unwrap();
        read
    }

    #[tokio::test]
    async fn a_bare_refusal_gets_words_however_little_room_there_is() {
        let bare = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\n\
                     content-length: 0\r\ndate: x\r\n\r\n";
        for room in [1, 7, 4096] {
            let read = written(bare, room).await;
            let (head, body) = read.split_once("\r\n\r\n").unwrap();
            assert_eq!(body, "431: the head is too large");
            assert!(head.contains("content-length: 26\r\n"), "{head}");
        }
    }

    #[tokio::test]
    async fn everything_else_passes_as_it_is() {
        for other in [
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n{}",
            "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 400",
        ] {
            assert_eq!(written(other.as_bytes(), 4096).await, other);
        }
    }
}
