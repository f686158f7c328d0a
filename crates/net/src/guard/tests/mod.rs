//! The guard against other readers: hyper's own server, httparse, and the public framing vectors.

mod against_hyper;
mod corpus;
mod price;
mod readers;
mod vectors;
