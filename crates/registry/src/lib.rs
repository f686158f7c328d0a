//! Endpoints of services and which one to take.
