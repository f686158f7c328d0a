//! Metric names, the journal of sealed segments, event sinks and alerts.
