//! `portcullis explain`: why a request was allowed or refused.
//!
//! The edge evaluates the decision again on the generation that made it; this asks it through *control*, which
//! authorises and records the question.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use portcullis_control::admin::Method;
use portcullis_core::RequestId;

use super::Outcome;
use super::ask::ask;
use super::loaded::Loaded;
use crate::screen::Screen;

/// Explain why a request was allowed or refused: rule, file and line, and what the rule looked at.
#[derive(Args)]
pub(crate) struct Explain {
    /// The request's id: the header `x-request-id` of its answer.
    #[arg(value_parser = request_id)]
    id: RequestId,
    /// The configuration, which says where the admin socket is.
    #[arg(short, long, default_value = "portcullis.yaml", value_name = "FILE")]
    config: PathBuf,
    /// The admin socket, where no configuration is at hand.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

impl Explain {
    /// Prints the explanation.
    pub(crate) fn run(self, screen: &Screen) -> Outcome {
        let socket = match self.socket {
            Some(socket) => socket,
            None => Loaded::read(&self.config)?.socket(),
        };
        let (status, text) = ask(&socket, Method::Get, &format!("/explain/{}", self.id))?;
        if status == 200 {
            screen.line(text.trim_end());
            return Ok(ExitCode::SUCCESS);
        }
        screen.error(&format!("no explanation (status {status}): {}", text.trim_end()));
        Ok(ExitCode::FAILURE)
    }
}

fn request_id(text: &str) -> Result<RequestId, &'static str> {
    RequestId::parse(text).ok_or("expected the id that the header `x-request-id` of an answer shows")
}
