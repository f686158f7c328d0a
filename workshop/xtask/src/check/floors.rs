//! The house, as a table: which room stands on which floor, and what it may know (ARCHITECTURE.md draws it).

/// One room.
pub(crate) struct Room {
    pub(crate) name: &'static str,
    pub(crate) floor: u8,
    pub(crate) may: May,
}

/// Which of our own rooms a room may import.
pub(crate) enum May {
    /// Any room of a lower floor.
    Below,
    /// These and no other.
    Only(&'static [&'static str]),
}

/// Tests and tools may know everybody; nobody may know them.
pub(crate) const WORKSHOP: u8 = 9;

const ENGINE: May = May::Only(&["portcullis-core"]);

pub(crate) const ROOMS: &[Room] = &[
    // floor 0: words
    room("portcullis-allocator", 0, May::Only(&[])),
    room("portcullis-core", 0, May::Only(&[])),
    room("portcullis-config", 0, May::Only(&["portcullis-core"])),
    // floor 1: engines, pure: no socket, file, thread or clock of their own
    room("portcullis-ca", 1, ENGINE),
    room("portcullis-contract", 1, ENGINE),
    room("portcullis-evidence", 1, ENGINE),
    room("portcullis-identity", 1, ENGINE),
    room("portcullis-limits", 1, ENGINE),
    room("portcullis-policy", 1, ENGINE),
    room("portcullis-registry", 1, ENGINE),
    room("portcullis-token", 1, ENGINE),
    // floor 2: pipes
    room("portcullis-net", 2, May::Only(&["portcullis-core"])),
    room("portcullis-snapshot", 2, May::Below),
    room("portcullis-telemetry", 2, May::Below),
    // floor 3: services
    room("portcullis-control", 3, May::Below),
    room("portcullis-dataplane", 3, May::Below),
    // SECURITY: what holds the keys knows no parser of strangers' bytes: no HTTP, no TLS, no configuration.
    room("portcullis-keyholder", 3, May::Only(&["portcullis-ca", "portcullis-core"])),
    // floor 4: doors
    room("portcullis", 4, May::Below),
    room("portcullis-proxy", 4, May::Below),
    // the workshop
    room("portcullis-testkit", WORKSHOP, May::Only(&["portcullis-core"])),
    // It measures some rooms by themselves: the guard and the pool without TLS, the journal without traffic.
    room(
        "portcullis-bench",
        WORKSHOP,
        May::Only(&[
            "portcullis-allocator",
            "portcullis-core",
            "portcullis-evidence",
            "portcullis-net",
            "portcullis-telemetry",
            "portcullis-testkit",
        ]),
    ),
    room("portcullis-e2e", WORKSHOP, May::Below),
    room("xtask", WORKSHOP, May::Only(&[])),
];

const fn room(name: &'static str, floor: u8, may: May) -> Room {
    Room { name, floor, may }
}

/// A package of others that only these rooms may name in their `[dependencies]`.
pub(crate) struct Owned {
    pub(crate) package: &'static str,
    pub(crate) owners: &'static [&'static str],
}

const NET: &[&str] = &["portcullis-net", "portcullis-testkit", "portcullis-bench", "portcullis-e2e"];

/// Tests (`[dev-dependencies]`) are free.
pub(crate) const OWNED: &[Owned] = &[
    owned("cedar-policy", &["portcullis-policy"]),
    owned("hyper", NET),
    owned("hyper-util", NET),
    owned("h2", NET),
    owned("rustls", NET),
    owned("rustls-webpki", NET),
    owned("tokio-rustls", NET),
    owned("jsonschema", &["portcullis-contract"]),
    owned("rcgen", &["portcullis", "portcullis-ca", "portcullis-testkit", "portcullis-bench"]),
    owned("serde-saphyr", &["portcullis-config", "portcullis-policy", "portcullis-contract"]),
    owned("libmimalloc-sys", &["portcullis-allocator"]),
    owned("mimalloc", &["portcullis-allocator"]),
    owned("clap", &["portcullis", "portcullis-proxy"]),
];

const fn owned(package: &'static str, owners: &'static [&'static str]) -> Owned {
    Owned { package, owners }
}

/// What a binary may link of ours, and what of others it must not.
pub(crate) struct Door {
    pub(crate) name: &'static str,
    pub(crate) ours: &'static [&'static str],
    pub(crate) never: &'static [&'static str],
}

pub(crate) const DOORS: &[Door] = &[Door {
    name: "portcullis-proxy",
    ours: &[
        "portcullis-proxy",
        "portcullis-allocator",
        "portcullis-core",
        // The types of the plan, and the crossing that it came by. The reader of YAML and the schema are in the same room
        // and are not called here, so the linker leaves them out.
        "portcullis-config",
        "portcullis-contract",
        "portcullis-dataplane",
        "portcullis-evidence",
        "portcullis-identity",
        "portcullis-limits",
        "portcullis-net",
        "portcullis-policy",
        "portcullis-registry",
        "portcullis-snapshot",
        "portcullis-telemetry",
        "portcullis-token",
    ],
    never: &["rcgen", "axum", "redb"],
}];
