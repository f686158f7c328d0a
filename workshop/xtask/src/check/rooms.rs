//! Keeps the doors of the house shut: names every edge between crates that the table does not allow.

use super::floors::{DOORS, Door, May, OWNED, ROOMS, Room, WORKSHOP};
use crate::fault::{Fault, Outcome};
use crate::metadata::{Metadata, Package};

/// Every forbidden edge at once.
pub(crate) fn check(metadata: &Metadata) -> Outcome<String> {
    let mut findings = Vec::new();
    for package in metadata.members() {
        match ROOMS.iter().find(|room| room.name == package.name) {
            Some(room) => findings.extend(edges(room, package)),
            None => findings
                .push(format!("`{}` stands on no floor: add it to xtask's table of rooms", package.name)),
        }
        findings.extend(owned(package));
    }
    for door in DOORS {
        findings.extend(linked(door, metadata)?);
    }
    if findings.is_empty() {
        return Ok(format!("({} rooms)", metadata.members().count()));
    }
    Err(Fault::list("doors that must stay shut", &findings))
}

/// Edges of one room to other rooms. Tests may use the workshop, and what the room itself may use.
fn edges(room: &Room, package: &Package) -> Vec<String> {
    let mut findings = Vec::new();
    for dependency in &package.dependencies {
        let Some(other) = ROOMS.iter().find(|r| r.name == dependency.name) else { continue };
        let test = dependency.kind.as_deref() == Some("dev");
        if other.floor == WORKSHOP
            && (test || room.floor == WORKSHOP)
            && may(room, other).is_none_or(|_| test)
        {
            continue;
        }
        if let Some(why) = may(room, other) {
            findings.push(format!("{} -> {}: {why}", room.name, other.name));
        }
    }
    findings
}

/// Why `room` may not know `other`, if it may not.
fn may(room: &Room, other: &Room) -> Option<String> {
    match room.may {
        May::Only(list) if list.contains(&other.name) => None,
        May::Only([]) => Some("may know no other room".to_owned()),
        May::Only(list) => Some(format!("may know only {}", list.join(", "))),
        May::Below if other.floor < room.floor => None,
        // Doors and tests are served by the test kit.
        May::Below if room.floor == WORKSHOP => None,
        May::Below => Some(format!("a room of floor {} imports lower floors only", room.floor)),
    }
}

fn owned(package: &Package) -> Vec<String> {
    let linked = package.dependencies.iter().filter(|d| d.kind.as_deref() != Some("dev"));
    linked
        .filter_map(|d| OWNED.iter().find(|o| o.package == d.name))
        .filter(|o| !o.owners.contains(&package.name.as_str()))
        .map(|o| format!("{} -> {}: only {} may", package.name, o.package, o.owners.join(", ")))
        .collect()
}

/// What a binary links that it must not, with the way there.
fn linked(door: &Door, metadata: &Metadata) -> Outcome<Vec<String>> {
    let ours: Vec<&str> = metadata.members().map(|p| p.name.as_str()).collect();
    let linked = metadata.linked(door.name)?;
    let foreign = |name: &str| ours.contains(&name) && !door.ours.contains(&name);
    Ok(linked
        .iter()
        .filter(|(name, _)| foreign(name) || door.never.contains(&name.as_str()))
        .map(|(name, path)| format!("`{}` links `{name}`, which it must not: {path}", door.name))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Declared;

    fn package(name: &str, dependencies: &[(&str, Option<&str>)]) -> Package {
        let declared = |(name, kind): &(&str, Option<&str>)| Declared {
            name: (*name).to_owned(),
            kind: kind.map(str::to_owned),
        };
        Package {
            id: name.to_owned(),
            name: name.to_owned(),
            version: semver::Version::new(0, 1, 0),
            license: None,
            source: None,
            dependencies: dependencies.iter().map(declared).collect(),
        }
    }

    fn found(name: &str, dependencies: &[(&str, Option<&str>)]) -> usize {
        let package = package(name, dependencies);
        let room = ROOMS.iter().find(|r| r.name == name).unwrap();
        edges(room, &package).len() + owned(&package).len()
    }

    #[test]
    fn a_forbidden_edge_is_named_and_an_allowed_one_is_not() {
        let table: [(&str, &str, Option<&str>, usize); 12] = [
            ("portcullis-policy", "portcullis-core", None, 0),
            ("portcullis-policy", "portcullis-token", None, 1),
            ("portcullis-policy", "portcullis-net", None, 1),
            ("portcullis-core", "portcullis-config", None, 1),
            ("portcullis-dataplane", "portcullis-net", None, 0),
            ("portcullis-dataplane", "portcullis-control", None, 1),
            ("portcullis-dataplane", "hyper", None, 1),
            ("portcullis-dataplane", "hyper", Some("dev"), 0),
            ("portcullis-net", "portcullis-testkit", Some("dev"), 0),
            ("portcullis-net", "portcullis-testkit", None, 1),
            ("portcullis-e2e", "portcullis-testkit", None, 0),
            ("portcullis-token", "cedar-policy", None, 1),
        ];
        for (from, to, kind, want) in table {
            assert_eq!(found(from, &[(to, kind)]), want, "{from} -> {to} {kind:?}");
        }
    }

    #[test]
    fn every_owner_and_every_linked_room_is_in_the_table() {
        let known = |name: &&str| ROOMS.iter().any(|r| r.name == *name);
        assert!(OWNED.iter().flat_map(|o| o.owners).all(known));
        assert!(DOORS.iter().flat_map(|d| d.ours).all(known));
    }
}
