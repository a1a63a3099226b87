//! A connection with patience: for the first byte, for a request to arrive whole, and between
//! requests.
//!
//! hyper's own time-out for the head also runs while a kept connection is idle. Chat keeps its
//! connections open, and a callback that meets a connection just being closed is lost for good, so
//! idling must be allowed for long while a slow request must not. Who does not read answers idles, too.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::alarm::Alarm;

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

/// Whether what was read broke off because patience was at its end.
pub(super) fn ran_out(error: &(dyn Error + 'static)) -> bool {
    std::iter::successors(Some(error), |&error| error.source())
        .filter_map(|error| error.downcast_ref::<io::Error>())
        .any(|error| error.kind() == io::ErrorKind::TimedOut)
}

/// A stream that fails with [`io::ErrorKind::TimedOut`] when patience is at its end.
pub(super) struct Timed<S> {
    stream: S,
    patience: Patience,
    deadline: Instant,
    receiving: bool,
    alarm: Alarm,
}

impl<S> Timed<S> {
    pub(super) fn new(stream: S, patience: Patience) -> Self {
        let deadline = Instant::now() + patience.first_byte;
        Self { stream, patience, deadline, receiving: false, alarm: Alarm::new(deadline) }
    }

    /// An answer begins: what comes next is the next request.
    fn answering(&mut self) {
        if self.receiving {
            self.receiving = false;
            self.deadline = Instant::now() + self.patience.idle;
        }
    }

    /// What was done, or a failure where the client has let it wait for too long.
    fn patiently<T>(
        &mut self,
        done: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if done.is_pending() {
            ready!(self.alarm.poll(self.deadline, cx));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        done
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Timed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if !self.receiving && buf.filled().len() > before {
            self.receiving = true;
            self.deadline = Instant::now() + self.patience.request;
        }
        self.patiently(read, cx)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Timed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.answering();
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        // Pending while the client reads nothing.
        self.patiently(written, cx)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.answering();
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.patiently(written, cx)
    }
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.patiently(flushed, cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::{Arc, Mutex};

    use http_body_util::{BodyExt, Empty};
    use hyper::body::{Bytes, Incoming};
    use hyper::server::conn::http1;
    use hyper::service::service_fn;
    use hyper::{Request, Response};
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_no_answers_is_given_up() {
        let second = Duration::from_secs(1);
        let patience = Patience { first_byte: second, request: second, idle: 9 * second };
        let (mut client, stream) = duplex(16);
        let mut stream = Timed::new(stream, patience);
        client.write_all(b"request").await.unwrap();
        stream.read_exact(&mut [0; 7]).await.unwrap();
        let began = Instant::now();
        let error = stream.write_all(&[0; 17]).await.unwrap_err();
        assert_eq!((error.kind(), began.elapsed().as_secs()), (io::ErrorKind::TimedOut, 9));
    }

    /// Whether the body of a request is said to have come too slowly, if its client hangs up or waits.
    async fn body_ran_out(hangs_up: bool) -> bool {
        let second = Duration::from_secs(1);
        let patience = Patience { first_byte: second, request: second, idle: second };
        let (mut client, stream) = duplex(1024);
        let read = Arc::new(Mutex::new(None));
        let answering = service_fn(|request: Request<Incoming>| {
            let read = Arc::clone(&read);
            async move {
                let body = request.into_body().collect().await;
                *read.lock().unwrap() = body.err();
                Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
            }
        });
        let stream = TokioIo::new(Timed::new(stream, patience));
        let connection = http1::Builder::new().serve_connection(stream, answering);
        client.write_all(b"POST / HTTP/1.1\r\ncontent-length: 9\r\n\r\nhalf").await.unwrap();
        if hangs_up {
            client.shutdown().await.unwrap();
        }
        let _ = connection.await;
        let error = read.lock().unwrap().take();
        ran_out(&error.expect("half a body is none"))
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_comes_too_slowly_is_told_from_one_that_breaks_off() {
        assert!(body_ran_out(false).await);
        assert!(!body_ran_out(true).await);
    }
}
