//! 5,000 routes and 1,000 policy files: load in bounded time (issue: compile in 1 s, of which this is a part).

use super::*;

/// A large configuration: `services` services of 50 routes each, a policy file of its own for every fifth route.
pub(crate) fn large(services: usize) -> MemoryFiles {
    let (head, _) = SHOP.split_once("services:").expect("services");
    let mut text = format!("{head}services:\n");
    let mut files = files();
    for s in 0..services {
        text.push_str(&format!(
            "  - name: s{s}\n    owner: team\n    sensitivity: medium\n    context: c{s}\n    upstream:\n      \
             endpoints: unix:/run/s{s}.sock\n    routes:\n"
        ));
        for r in 0..50 {
            text.push_str(&format!(
                "      - path: /s{s}/things{r}/{{id}}\n        methods: [GET, POST]\n        plan: standard\n"
            ));
            if r % 5 == 0 {
                let name = format!("policies/s{s}-{r}.cedar");
                text.push_str(&format!("        policy: {name}\n"));
                files = files.with(&name, "permit (principal, action, resource);");
            } else {
                text.push_str("        scopes: { all: [things.read] }\n");
            }
        }
    }
    text.push_str("alerts: { alertmanager: https://alerts.shop.example }\n");
    files
        .with("portcullis.yaml", text.replace("files: keys/partners.yaml", "files: keys/none.yaml"))
        .with("keys/none.yaml", "keys: []")
}

#[test]
fn five_thousand_routes_and_a_thousand_policies_load() {
    let files = large(100);
    let plan = crate::load("portcullis.yaml", &files).unwrap_or_else(|p| panic!("{p}"));
    assert_eq!(plan.services.iter().map(|s| s.routes.len()).sum::<usize>(), 5_000);
    assert_eq!(plan.policies.len(), 1_001);
}
