//! The request line: gateway and sidecar are one line with two configurations.
//!
//! Read `line.rs` first: it shows the whole life of a request. Each stage has a file of its own; around them stand the
//! connection that a request comes on (`connection`), what a core has to itself (`core_state`), the generation in force
//! (`generation`), and the threads and sockets (`edge`).
//!
//! INVARIANT: no stage writes an answer, an event or a metric; the line does.
//! INVARIANT: nothing here can panic on what a caller or an upstream sends.
//!
//! Not here: engines (floor 1), bytes and TLS (`portcullis-net`), who compiles generations (`portcullis-control`).

mod admit;
mod answer;
mod arrive;
mod authorise;
mod body;
mod connection;
mod core_state;
mod cors;
mod counters;
pub mod edge;
mod explain;
mod forward;
mod frame;
mod generation;
mod headers;
mod helpers;
mod identify;
mod line;
mod link;
mod problem_details;
mod random;
mod record;
mod route;
mod running;
mod select;
mod settings;
mod shape;
mod source;
mod streams;
mod trace;
mod trailers;
mod upgrade;
mod well_known;
mod worker;

pub use edge::{Edge, EdgeError, run};
