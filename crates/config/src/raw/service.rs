//! Keys of `plans`, `services` and their routes.

use portcullis_core::{ByteSize, Millis, Name, Rate};

use super::FilePath;
use super::upstream::RawUpstream;
use super::values::{HeaderName, Word};
use crate::plan::{ContractMode, Credentials, Host, Method, Sensitivity, WebSocket};
use crate::yaml::{At, Count, Many, Table, Text, section};

section! {
    /// A usage plan: at least one limit.
    RawUsagePlan {
        /// Requests of one user, over all routes with this plan, such as `50/s`.
        per_user: Rate [],
        /// Requests from one source address (IPv4) or /64 (IPv6).
        per_source: Rate [],
        /// Requests to one route.
        per_route: Rate [],
        /// How many may come at once beyond an even pace.
        burst: Count [= "1"],
        /// Requests of one user in flight at a time.
        concurrent: Count [],
    }
}

section! {
    /// A service behind the gateway.
    RawService {
        /// Its name, unique.
        name: Name [required],
        /// The team that answers for it.
        owner: Text [required "SS028-10"],
        /// How much harm misuse would do: `low`, `medium` or `high`.
        sensitivity: Sensitivity [required],
        /// Its one security context: operations of two contexts belong in two services.
        context: Many<Name> [required "SS028-11.1.11"],
        /// Its OpenAPI 3 document.
        contract: FilePath [],
        /// What a request outside the contract meets: `off`, `report` or `enforce`.
        contract_mode: ContractMode [= "enforce"],
        /// Hosts that it answers under. Left out, every host that no service names.
        hosts: Many<Host> [],
        /// Where it runs.
        upstream: RawUpstream [required],
        /// Cross-origin rules for routes that have none of their own.
        cors: RawCors [],
        /// Its routes. What no route names is refused.
        routes: Vec<At<RawRoute>> [required],
    }
}

section! {
    /// Some methods of a path template. One of `policy`, `scopes`, `roles` or `access` is required.
    RawRoute {
        /// Its name in records and metrics. Left out, one is made from the methods and the path.
        name: Name [],
        /// The path: `/orders/{id}`, or `/files/*rest` for everything below.
        path: Text [required],
        /// The methods.
        methods: Many<Method> [required],
        /// The usage plan.
        plan: Name [required "MS-SS-8.2"],
        /// Cedar files; a policy in them must permit.
        policy: Many<FilePath> [],
        /// Scopes that the caller must have.
        scopes: RawScopes [],
        /// Roles of which the caller must have one.
        roles: Many<Word> [],
        /// `public` opens the route to anybody, without credentials.
        access: RawAccess [],
        /// The stored procedure behind the route, with its limit for each user.
        procedure: RawProcedure [],
        /// The largest request body. Left out, `gateway.limits.body`.
        body: ByteSize [],
        /// Time for the answer. Left out, those of the upstream.
        timeouts: RawRouteTimeouts [section],
        /// Replaces the beginning of the path on its way to the service.
        rewrite: RawRewrite [],
        /// Headers set and removed.
        headers: RawHeaders [section],
        /// A higher sensitivity than the service's.
        sensitivity: Sensitivity [],
        /// Another contract mode than the service's.
        contract_mode: ContractMode [],
        /// Whether the route may become a WebSocket: `refused` or `allowed`.
        websocket: WebSocket [= "refused"],
        /// What a record may show of a request. Left out, neither path parameters nor query values.
        record: RawRecorded [section],
        /// Cross-origin rules. Left out, those of the service.
        cors: RawCors [],
    }
}

/// The one word of `access`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RawAccess {
    Public,
}

crate::yaml::read_words! {
    RawAccess { "public" => Self::Public, }
}

section! {
    /// Scopes that the caller must have.
    RawScopes {
        /// All of these.
        all: Many<Word> [],
        /// At least one of these.
        any: Many<Word> [],
    }
}

section! {
    /// A stored procedure, limited by user.
    RawProcedure {
        /// Routes that name the same procedure share its limit.
        name: Name [required],
        /// Calls of one user, such as `3/min`.
        per_user: Rate [required "SS028-11.4.2"],
    }
}

section! {
    /// Time for the answer.
    RawRouteTimeouts {
        /// For one try. Left out, that of the upstream.
        per_try: Millis [],
        /// For the whole request. Left out, that of the upstream.
        request: Millis [],
    }
}

section! {
    /// Replaces the beginning of the path.
    RawRewrite {
        /// The leading part of the path, such as `/api`.
        prefix: Text [required],
        /// What stands there instead, such as `/v2`, or `/` for nothing.
        to: Text [required],
    }
}

section! {
    /// Headers set and removed.
    RawHeaders {
        /// Towards the service.
        request: RawHeaderEdit [section],
        /// Towards the caller.
        response: RawHeaderEdit [section],
    }
}

section! {
    /// Headers set and removed in one direction.
    RawHeaderEdit {
        /// Names and values to set.
        set: Table<Text> [],
        /// Names to remove.
        remove: Many<HeaderName> [],
    }
}

section! {
    /// What a record may show of a request.
    RawRecorded {
        /// Parameters of the path.
        path_params: Many<Word> [],
        /// Parameters of the query.
        query: Many<Word> [],
    }
}

section! {
    /// Cross-origin rules.
    RawCors {
        /// Origins such as `https://www.shop.example`, or `*` for every page.
        origins: Many<Text> [required],
        /// Request headers beyond the safelisted ones.
        headers: Many<HeaderName> [],
        /// Answer headers that a page may read.
        expose: Many<HeaderName> [],
        /// Whether cookies and client certificates may come along: `omitted` or `included`.
        credentials: Credentials [= "omitted"],
        /// How long a browser may remember the preflight.
        max_age: Millis [= "10m"],
    }
}
