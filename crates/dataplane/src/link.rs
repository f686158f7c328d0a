//! The data plane's end of the link to *control*.
//!
//! INVARIANT: without a link the data plane serves on with what it has, and keeps trying.
//! INVARIANT: a frame that does not parse ends the link; one that does not verify is refused and said so.
//!
//! Not here: the frames (`portcullis-snapshot::link`), what a generation does (`edge`).

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::BytesMut;
use portcullis_snapshot::link::{FromEdge, Hello, LinkFault, ToEdge, read_frame, write_frame};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;

/// Between two attempts to connect: short at first, since at the start *control* binds its socket a moment later than
/// the edge looks for it.
const SOON: Duration = Duration::from_millis(5);
/// Between two attempts when *control* is away for longer.
const LATER: Duration = Duration::from_millis(200);

/// What is read at a time.
const BUFFER: usize = 64 * 1024;

/// Frames that wait on either side.
const WAITING: usize = 64;

/// Both directions of the link, whoever is at the other end at the moment.
pub(crate) struct Link {
    /// What *control* sent.
    pub from_control: mpsc::Receiver<ToEdge>,
    /// What it is told; dropped while there is no link.
    pub to_control: mpsc::Sender<FromEdge>,
}

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("nobody listens")]
    Away(#[source] std::io::Error),
    #[error("the socket failed")]
    Io(#[from] std::io::Error),
    #[error("the other end does not speak this link")]
    Fault(#[from] LinkFault),
    #[error("the other end closed the link")]
    Closed,
}

/// Keeps a link to the socket at `path`, beginning each with `hello`.
pub(crate) fn keep(path: PathBuf, hello: Hello) -> Link {
    let (to_edge, from_control) = mpsc::channel(WAITING);
    let (to_control, from_edge) = mpsc::channel(WAITING);
    tokio::spawn(run(path, hello, to_edge, from_edge));
    Link { from_control, to_control }
}

async fn run(
    path: PathBuf,
    hello: Hello,
    to_edge: mpsc::Sender<ToEdge>,
    mut from_edge: mpsc::Receiver<FromEdge>,
) {
    let mut pause = SOON;
    while !to_edge.is_closed() {
        pause = match once(&path, &hello, &to_edge, &mut from_edge).await {
            Err(Broken::Away(_)) => (pause * 2).min(LATER),
            _ => SOON,
        };
        tokio::time::sleep(pause).await;
        // What was said to nobody is out of date; the next link begins with a hello.
        while from_edge.try_recv().is_ok() {}
    }
}

async fn once(
    path: &Path,
    hello: &Hello,
    to_edge: &mpsc::Sender<ToEdge>,
    from_edge: &mut mpsc::Receiver<FromEdge>,
) -> Result<(), Broken> {
    let (reader, mut writer) = UnixStream::connect(path).await.map_err(Broken::Away)?.into_split();
    send(&mut writer, &FromEdge::Hello(hello.clone())).await?;
    let reading = read(reader, to_edge);
    let writing = async {
        while let Some(message) = from_edge.recv().await {
            send(&mut writer, &message).await?;
        }
        Err(Broken::Closed)
    };
    tokio::select! {
        ended = reading => ended,
        ended = writing => ended,
    }
}

async fn read(mut reader: OwnedReadHalf, to_edge: &mpsc::Sender<ToEdge>) -> Result<(), Broken> {
    let mut input = BytesMut::with_capacity(BUFFER);
    loop {
        while let Some(message) = read_frame(&mut input)? {
            to_edge.send(message).await.map_err(|_| Broken::Closed)?;
        }
        if input.is_empty() && input.capacity() > BUFFER {
            // A large generation went through; the next frame is a small one.
            input = BytesMut::with_capacity(BUFFER);
        }
        if reader.read_buf(&mut input).await? == 0 {
            return Err(Broken::Closed);
        }
    }
}

async fn send(writer: &mut OwnedWriteHalf, message: &FromEdge) -> Result<(), Broken> {
    let mut out = BytesMut::new();
    write_frame(message, &mut out)?;
    Ok(writer.write_all(&out).await?)
}
