//! The room from outside: what compiles, what is refused, and the laws that no book breaks.

#[cfg(test)]
mod answers;
#[cfg(test)]
mod compiling;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod laws;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod world;
