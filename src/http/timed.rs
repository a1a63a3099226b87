//! A connection with patience: for the first byte, for a request to arrive whole, and between
//! requests.
//!
//! hyper's own time-out for the head also runs while a kept connection is idle. Chat keeps its
//! connections open, and a callback that meets a connection just being closed is lost for good, so
//! idling must be allowed for long while a slow request must not.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For the first byte of a new connection.
    pub first_byte: Duration,
    /// From the first byte of a request to the last.
    pub request: Duration,
    /// Between an answer and the next request.
    pub idle: Duration,
}

/// A stream that fails with [`io::ErrorKind::TimedOut`] when patience is at its end.
pub(super) struct Timed<S> {
    stream: S,
    patience: Patience,
    deadline: Instant,
    receiving: bool,
    /// Runs out at the deadline or before; set anew only when it does, so that a request which
    /// arrives whole costs no timer.
    sleep: Pin<Box<Sleep>>,
}

impl<S> Timed<S> {
    pub(super) fn new(stream: S, patience: Patience) -> Self {
        let deadline = Instant::now() + patience.first_byte;
        let sleep = Box::pin(tokio::time::sleep_until(deadline));
        Self { stream, patience, deadline, receiving: false, sleep }
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.sleep.deadline() > self.deadline {
                self.sleep.as_mut().reset(self.deadline);
            }
            ready!(self.sleep.as_mut().poll(cx));
            if Instant::now() >= self.deadline {
                return Poll::Ready(());
            }
            self.sleep.as_mut().reset(self.deadline);
        }
    }

    /// An answer begins: what comes next is the next request.
    fn answering(&mut self) {
        if self.receiving {
            self.receiving = false;
            self.deadline = Instant::now() + self.patience.idle;
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Timed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(cx, buf) {
            if !self.receiving && buf.filled().len() > before {
                self.receiving = true;
                self.deadline = Instant::now() + self.patience.request;
            }
            return Poll::Ready(read);
        }
        ready!(self.poll_deadline(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Timed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.answering();
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.answering();
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
