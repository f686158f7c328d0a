//! `portcullis init`: the shop of the demo as a starter of one's own.
//!
//! INVARIANT: nothing that is there already is overwritten.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use portcullis_core::{Clock as _, SystemClock};

use super::Outcome;
use crate::demo::shop::{Addresses, Shop};
use crate::screen::Screen;

/// Write a starter: a configuration that `up` runs, with its own keys, policies and contracts.
#[derive(Args)]
pub(crate) struct Init {
    /// Where to write; made if it is not there.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

/// The trust domain of a starter, to be replaced by one's own.
const TRUST_DOMAIN: &str = "shop.internal";

impl Init {
    /// Writes it and says what to do next.
    pub(crate) fn run(self, screen: &Screen) -> Outcome {
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let shop = Shop {
            folder: self.dir.clone(),
            environment: "development",
            trust_domain: TRUST_DOMAIN,
            stdout_log: "json",
            addresses: Addresses {
                gateway: local(8443),
                orders: local(9101),
                payments: local(9102),
                stock: local(9103),
            },
            now: SystemClock::default().now().wall,
        };
        shop.write()?;
        screen.line(next(&self.dir.display().to_string()));
        Ok(ExitCode::SUCCESS)
    }
}

fn next(dir: &str) -> String {
    let service = |name: &str, port: u16| {
        format!(
            "  portcullis demo-service {name} --dir {dir} --gateway 127.0.0.1:8443 \\\n    \
             --trust-domain {TRUST_DOMAIN} --listen 127.0.0.1:{port} &\n"
        )
    };
    format!(
        "Wrote a small shop to {dir}: portcullis.yaml, policies/, contracts/, and keys made just now.\n\n  \
         portcullis check -c {dir}/portcullis.yaml\n  portcullis up -c {dir}/portcullis.yaml\n\n\
         Its services are placeholders; until yours are there, those of the demo can stand in:\n\n{}{}{}\n  \
         curl --cacert {dir}/tls/ca.pem https://localhost:8443/stock\n\n\
         Before anything real: your trust domain, your issuer in place of `issuer/` (its tokens in `tokens/` end in\n\
         twelve hours and cannot be renewed), certificates of your authority in place of `tls/` (they end in a month).",
        service("orders", 9101),
        service("payments", 9102),
        service("stock", 9103),
    )
}
