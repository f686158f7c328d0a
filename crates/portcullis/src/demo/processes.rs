//! The processes of a demo: three services and `portcullis up`, ended with it.
//!
//! The services get their listening sockets as standard input, so no port can be taken between choosing and using it.
//! The gateway's port is held until its process starts.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use super::OPENING;
use super::https::{Client, ClientError};
use super::service::Kind;
use super::shop::{Addresses, Shop};

/// Between two looks whether the shop is open.
const LOOK: Duration = Duration::from_millis(20);
/// How long a process may take to end.
const CLOSING: Duration = Duration::from_secs(10);
/// How many lines of the log are shown when the gateway does not begin.
const SHOWN: usize = 12;

/// Sockets on ports that the system chose.
pub(super) struct Sockets {
    gateway: TcpListener,
    services: [TcpListener; 3],
}

/// Why the shop does not open.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error("cannot start {name}")]
    Start {
        name: &'static str,
        #[source]
        cause: io::Error,
    },
    #[error("the gateway ended before it served; the end of {log}:\n{told}", log = .log.display())]
    Ended { log: PathBuf, told: String },
    #[error("the gateway did not serve within {OPENING:?}; see {log}", log = .log.display())]
    Late { log: PathBuf },
    #[error("cannot look whether the gateway serves")]
    Look(#[from] ClientError),
}

/// What runs.
pub(super) struct Processes {
    gateway: Child,
    services: Vec<Child>,
    log: PathBuf,
}

impl Sockets {
    /// Takes four ports of 127.0.0.1.
    pub(super) fn bind() -> io::Result<Self> {
        let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        Ok(Self { gateway: bind()?, services: [bind()?, bind()?, bind()?] })
    }

    /// Where they are.
    pub(super) fn addresses(&self) -> io::Result<Addresses> {
        let [orders, payments, stock] = &self.services;
        Ok(Addresses {
            gateway: self.gateway.local_addr()?,
            orders: orders.local_addr()?,
            payments: payments.local_addr()?,
            stock: stock.local_addr()?,
        })
    }
}

impl Processes {
    /// Starts everything.
    pub(super) fn start(shop: &Shop, sockets: Sockets) -> Result<Self, OpenError> {
        let log = shop.folder.join("portcullis.log");
        let failed = |name| move |cause| OpenError::Start { name, cause };
        let mut services = Vec::with_capacity(Kind::ALL.len());
        for (kind, socket) in Kind::ALL.into_iter().zip(sockets.services) {
            let started = service(kind, shop, socket, &log);
            services.push(started.map_err(failed(kind.word()))?);
        }
        drop(sockets.gateway);
        let gateway = gateway(shop, &log).map_err(failed("portcullis up"))?;
        Ok(Self { gateway, services, log })
    }

    /// Waits until the gateway answers.
    pub(super) async fn ready(&mut self, folder: &Path, gateway: SocketAddr) -> Result<(), OpenError> {
        let log = self.log.clone();
        let looking = async {
            while tokio::net::TcpStream::connect(gateway).await.is_err() {
                tokio::time::sleep(LOOK).await;
            }
            let client = Client::new(folder, gateway, None)?;
            while !is_open(&client).await {
                tokio::time::sleep(LOOK).await;
            }
            Ok(())
        };
        tokio::select! {
            looked = tokio::time::timeout(OPENING, looking) => looked.unwrap_or(Err(OpenError::Late { log })),
            _ = self.gateway.wait() => Err(OpenError::Ended { told: last_lines(&log), log }),
        }
    }

    /// Returns when one of them is gone.
    pub(super) async fn any_ended(&mut self) {
        let [one, two, three] = self.services.as_mut_slice() else { return };
        tokio::select! {
            _ = self.gateway.wait() => {}
            _ = one.wait() => {}
            _ = two.wait() => {}
            _ = three.wait() => {}
        }
    }

    /// Ends the gateway, so that it drains and closes its record, then the services.
    pub(super) async fn end(mut self) {
        let pid = self.gateway.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // Not reaped yet, so the id is still its own.
            let _ = kill_process(pid, Signal::TERM);
        }
        if tokio::time::timeout(CLOSING, self.gateway.wait()).await.is_err() {
            let _ = self.gateway.kill().await;
        }
        for service in &mut self.services {
            let _ = service.kill().await;
        }
    }
}

fn service(kind: Kind, shop: &Shop, socket: TcpListener, log: &Path) -> io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("demo-service").arg(kind.word()).arg("--dir").arg(&shop.folder);
    command.args(["--gateway", &shop.addresses.gateway.to_string(), "--trust-domain", shop.trust_domain]);
    command.stdin(Stdio::from(OwnedFd::from(socket)));
    spawn(&mut command, log)
}

fn gateway(shop: &Shop, log: &Path) -> io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["up", "--with-parent", "--config"]).arg(shop.folder.join("portcullis.yaml"));
    command.stdin(Stdio::null());
    spawn(&mut command, log)
}

fn spawn(command: &mut Command, log: &Path) -> io::Result<Child> {
    let log = File::options().create(true).append(true).open(log)?;
    command.stdout(log.try_clone()?).stderr(log).kill_on_drop(true).process_group(0).spawn()
}

async fn is_open(client: &Client) -> bool {
    let Ok(request) = Request::get("/stock").body(Full::<Bytes>::default()) else { return false };
    client.send(request).await.is_ok_and(|answer| answer.status() == 200)
}

fn last_lines(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(SHOWN);
    lines.get(from..).unwrap_or_default().join("\n")
}

/// Runs this program in the folder of the shop; good if it succeeds and its output has `wanted`.
pub(super) async fn told(folder: &Path, words: &[&str], wanted: &str) -> Result<(), String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(program);
    command.args(words).current_dir(folder).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(CLOSING, command.output()).await;
    let output = output.map_err(|_| "it took too long".to_owned())?.map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    if output.status.success() && text.contains(wanted) {
        return Ok(());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    Err(format!("`{}` ({}) lacks `{wanted}`: {text}{complaint}", words.join(" "), output.status))
}
