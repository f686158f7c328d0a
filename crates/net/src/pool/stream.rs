//! The bytes to an upstream: TCP or a unix socket, with TLS or without.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use portcullis_core::UnixMillis;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout_at};

use super::{Address, ConnectFault, Target};
use crate::tls::ClientStream;

/// An open connection.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<ClientStream<Stream>>),
}

/// Connects and shakes hands. Also says when the first certificate of either side runs out.
pub(crate) async fn dial(
    target: &Target,
    deadline: Instant,
) -> Result<(Stream, Option<UnixMillis>), ConnectFault> {
    let open = timeout_at(deadline, open(target.address())).await;
    let plain = open.map_err(|_| ConnectFault::Timeout)?.map_err(ConnectFault::Io)?;
    match target.tls() {
        None => Ok((plain, None)),
        Some(tls) => {
            let connected = tls.connect(plain, deadline).await.map_err(ConnectFault::Tls)?;
            Ok((Stream::Tls(Box::new(connected.stream)), connected.ends))
        }
    }
}

async fn open(address: &Address) -> io::Result<Stream> {
    match address {
        Address::Tcp(at) => {
            let stream = TcpStream::connect(at).await?;
            stream.set_nodelay(true)?;
            Ok(Stream::Tcp(stream))
        }
        Address::Unix(at) => Ok(Stream::Unix(UnixStream::connect(at).await?)),
    }
}

/// Runs the same expression on whichever stream it is.
macro_rules! each {
    ($self:ident, $stream:ident => $run:expr) => {
        match $self.get_mut() {
            Stream::Tcp(inner) => {
                let $stream = Pin::new(inner);
                $run
            }
            Stream::Unix(inner) => {
                let $stream = Pin::new(inner);
                $run
            }
            Stream::Tls(inner) => {
                let $stream = Pin::new(&mut **inner);
                $run
            }
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        each!(self, stream => stream.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self, stream => stream.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(inner) => inner.is_write_vectored(),
            Self::Unix(inner) => inner.is_write_vectored(),
            Self::Tls(inner) => inner.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => stream.poll_shutdown(cx))
    }
}
