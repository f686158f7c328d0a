//! The change line, the supervisor's peer: reload, issuers, admin, monitor and alerts.
