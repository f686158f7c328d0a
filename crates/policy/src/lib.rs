//! May this caller do this? The only room that knows Cedar.
