//! The floor: a TCP relay with one thread that copies 8 KiB at a time and understands nothing.
//!
//! It must stay as it is: figures of different days are compared through it.

use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpListener, TcpStream};

use crate::Outcome;

const COPY: usize = 8 * 1024;

/// Relays until it is killed.
pub(crate) fn run(listen: &str, to: &str) -> Outcome<()> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    let to = to.to_owned();
    runtime.block_on(async move {
        let listener = TcpListener::bind(listen).await.map_err(|e| format!("relay: {listen}: {e}"))?;
        loop {
            let (near, _) = listener.accept().await.map_err(|e| e.to_string())?;
            let to = to.clone();
            tokio::spawn(async move { relay(near, &to).await });
        }
    })
}

async fn relay(mut near: TcpStream, to: &str) -> std::io::Result<()> {
    let mut far = TcpStream::connect(to).await?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    copy_bidirectional_with_sizes(&mut near, &mut far, COPY, COPY).await.map(drop)
}
