//! The guard against other readers: hyper's own server, httparse, and the public framing vectors.

mod against_hyper;
mod attacks;
mod corpus;
mod paths;
mod price;
mod readers;
mod vectors;
