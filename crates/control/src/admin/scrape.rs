//! Metrics for a program on this machine, such as Prometheus.
//!
//! Loopback proves nothing about who asks, so there is little to be had: `/metrics`, `/live` and `/ready`.
//!
//! INVARIANT: nobody on another machine is answered, whatever the address was bound to.
//! INVARIANT: each answer is on record, and there are only so many in a second, so that nobody fills the record.
//!
//! Not here: the check of `Host` against rebinding (`door`).
//!
//! Sources: threat F1; SS028-11.1.9c.

use std::io;
use std::rc::Rc;

use portcullis_net::listen::{CoreListener, Drain, Listener, Phase};

use super::door::{Asker, Door};
use super::listener::alone;
use super::{Admin, Places};

/// More connections than this are not served at a time.
const MOST: u32 = 16;
/// More answers than this in a second are not given.
const A_SECOND: u32 = 10;

/// The listener while it is served.
pub(super) struct Scraping {
    admin: Rc<Admin>,
    listener: CoreListener,
}

impl Scraping {
    pub(super) fn new(admin: &Rc<Admin>, listener: &Listener) -> io::Result<Self> {
        Ok(Self { admin: Rc::clone(admin), listener: alone(listener)? })
    }

    pub(super) async fn accept(mut self, mut drain: Drain) {
        let places = Places::new(MOST);
        loop {
            let accepted = tokio::select! {
                biased;
                () = drain.reached(Phase::Draining) => break,
                accepted = self.listener.accept() => accepted,
            };
            let Ok(accepted) = accepted else { continue };
            let who = Asker::Local(accepted.peer.ip());
            if !self.admin.state.may_ask(&who) {
                self.admin.turn_away(&who);
                continue;
            }
            let Some(place) = places.take() else { continue };
            let (admin, drain) = (Rc::clone(&self.admin), drain.clone());
            tokio::task::spawn_local(async move {
                admin.serve(accepted.stream, &who, Door::Metrics, drain).await;
                drop(place);
            });
        }
        places.empty(drain).await;
    }
}

impl Admin {
    /// Whether this second has room for another answer by this door. Who asks by the others is proved.
    pub(super) fn has_room(&self, door: Door<'_>) -> bool {
        if !matches!(door, Door::Metrics) {
            return true;
        }
        let now = self.state.desk.now().wall.seconds();
        let (second, count) = self.scrapes.get();
        let count = if second == now { count } else { 0 };
        self.scrapes.set((now, count.saturating_add(1)));
        count < A_SECOND
    }
}
