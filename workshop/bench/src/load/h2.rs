//! HTTP/2 load: hyper's client, a fixed number of streams at a time on each connection.

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::{Schedule, Tally, Target, asked, h1};
use crate::Outcome;

/// One connection with `count` streams at a time.
pub(crate) async fn streams(target: Target, count: usize, schedule: Arc<Schedule>) -> Tally {
    let mut sum = Tally::default();
    let Ok(stream) = h1::connect(&target).await else {
        sum.failed += 1;
        return sum;
    };
    let Ok((sender, connection)) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await else {
        sum.failed += 1;
        return sum;
    };
    let connection = tokio::spawn(connection);
    let mut set = tokio::task::JoinSet::new();
    for _ in 0..count {
        set.spawn(one_stream(target.clone(), sender.clone(), Arc::clone(&schedule)));
    }
    while let Some(done) = set.join_next().await {
        let tally = done.unwrap_or_default();
        sum.latency.merge(&tally.latency);
        sum.failed += tally.failed;
    }
    connection.abort();
    sum
}

async fn one_stream(target: Target, mut sender: SendRequest<Empty<Bytes>>, schedule: Arc<Schedule>) -> Tally {
    let mut tally = Tally::default();
    while let Some((number, due)) = schedule.turn().await {
        let outcome = exchange(&target, &mut sender, number).await;
        tally.note(due, &outcome);
        if sender.is_closed() {
            break;
        }
    }
    tally
}

async fn exchange(target: &Target, sender: &mut SendRequest<Empty<Bytes>>, number: u64) -> Outcome<u16> {
    let (path, token) = asked(target, number);
    let mut request = Request::get(format!("https://localhost{path}"));
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let request = request.body(Empty::new()).map_err(|e| e.to_string())?;
    sender.ready().await.map_err(|e| e.to_string())?;
    let answer = sender.send_request(request).await.map_err(|e| e.to_string())?;
    let status = answer.status().as_u16();
    answer.into_body().collect().await.map_err(|e| e.to_string())?;
    Ok(status)
}
