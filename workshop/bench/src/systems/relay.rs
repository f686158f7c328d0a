//! The floor of plain work: bytes from one socket to another.

use std::env;

use super::{Started, pinned, ready, values};
use crate::Outcome;
use crate::plan::Work;
use crate::world::World;

pub(crate) fn start(work: Work, world: &World) -> Outcome<Started> {
    let (address, _) = values(world, work);
    let program = env::current_exe().map_err(|e| e.to_string())?;
    let launch = pinned(&program).args(["relay", &address.to_string(), &world.plain_origin.to_string()]);
    ready("relay", launch, address, "none")
}
