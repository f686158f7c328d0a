//! What to try, with what it answers and why: one table, printed by `demo` and walked by `demo --check`.
//!
//! Not here: how a case is written as a command (`guide`), how it is walked (`walk`).

use portcullis_core::Reason;

/// One thing to try.
#[derive(Debug)]
pub(crate) struct Case {
    /// What it shows.
    pub(crate) title: &'static str,
    /// The method.
    pub(crate) method: &'static str,
    /// The path, sent as it stands here.
    pub(crate) path: &'static str,
    /// What goes with it.
    pub(crate) with: &'static [With],
    /// The answer to each time it is sent.
    pub(crate) answers: &'static [u16],
    /// What else the last answer has.
    pub(crate) shows: Shows,
    /// Why it answers so.
    pub(crate) why: &'static str,
}

/// What goes with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum With {
    /// The header in the file `tokens/…`.
    Credential(&'static str),
    /// Another header.
    Header(&'static str, &'static str),
    /// The device's client certificate.
    Certificate,
    /// A JSON body.
    Json(&'static str),
}

/// What an answer has besides its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shows {
    /// A text in its body.
    Text(&'static str),
    /// A header.
    Header(&'static str, &'static str),
    /// The problem details of a refusal.
    Refusal(Reason),
    /// Any.
    Any,
}

use Shows::{Any, Refusal, Text};
use With::{Certificate, Credential, Header, Json};

/// Everything to try, in an order in which no limit gets in the way of another case.
pub(crate) const CASES: &[Case] = &[
    Case {
        title: "anybody may look at the stock",
        method: "GET",
        path: "/stock",
        with: &[],
        answers: &[200],
        shows: Text("\"proof\": \"anonymous\""),
        why: "the route says `access: public`; every other route needs a caller",
    },
    Case {
        title: "a customer reads her own order",
        method: "GET",
        path: "/customers/c-17/orders/1001",
        with: &[Credential("alice")],
        answers: &[200],
        shows: Text("\"sub\": \"alice\""),
        why: "token, scope and policy agree; the service got one internal token and says who called",
    },
    Case {
        title: "no credentials",
        method: "GET",
        path: "/customers/c-17/orders/1001",
        with: &[],
        answers: &[401],
        shows: Refusal(Reason::MissingCredentials),
        why: "deny by default",
    },
    Case {
        title: "a token that has expired",
        method: "GET",
        path: "/customers/c-17/orders/1001",
        with: &[Credential("alice-expired")],
        answers: &[401],
        shows: Refusal(Reason::ExpiredToken),
        why: "`exp` has passed, with the leeway of the issuer's entry",
    },
    Case {
        title: "a token signed by somebody else",
        method: "GET",
        path: "/customers/c-17/orders/1001",
        with: &[Credential("alice-forged")],
        answers: &[401],
        shows: Refusal(Reason::InvalidToken),
        why: "the issuer's key set decides, not what a token says of itself",
    },
    Case {
        title: "a good token without the scope",
        method: "GET",
        path: "/customers/c-17/orders/1001",
        with: &[Credential("clerk")],
        answers: &[403],
        shows: Refusal(Reason::Forbidden),
        why: "the route asks for scope `orders.read`",
    },
    Case {
        title: "somebody else's order",
        method: "GET",
        path: "/customers/c-42/orders/2001",
        with: &[Credential("alice")],
        answers: &[403],
        shows: Refusal(Reason::Forbidden),
        why: "policies/orders.cedar:9 `not-your-orders`: the path's customer is not the token's",
    },
    Case {
        title: "forged identity headers",
        method: "GET",
        path: "/customers/c-17/orders/1002",
        with: &[
            Credential("alice"),
            Header("x-portcullis-subject", "root"),
            Header("x-forwarded-user", "root"),
        ],
        answers: &[200],
        shows: Text("\"sub\": \"alice\""),
        why: "what a caller says about itself is stripped; the token alone tells who calls",
    },
    Case {
        title: "a query parameter that the contract does not have",
        method: "GET",
        path: "/customers/c-17/orders?debug=true",
        with: &[Credential("alice")],
        answers: &[400],
        shows: Refusal(Reason::ContractBroken),
        why: "contracts/orders.openapi.yaml knows `limit` only; the record names what was unknown",
    },
    Case {
        title: "a body that the contract does not have",
        method: "POST",
        path: "/customers/c-42/orders/2001/refund",
        with: &[Credential("bob"), Json("{\"reason\":\"late\",\"amount\":9000}")],
        answers: &[400],
        shows: Refusal(Reason::ContractBroken),
        why: "`amount` is no member of the schema, and the service never sees it",
    },
    Case {
        title: "a fourth refund within a minute",
        method: "POST",
        path: "/customers/c-17/orders/1001/refund",
        with: &[Credential("alice"), Json("{\"reason\":\"damaged\"}")],
        answers: &[202, 202, 202, 429],
        shows: Refusal(Reason::RateLimited),
        why: "`procedure: refund_order` is limited to 3/min for each user, over all cores",
    },
    Case {
        title: "a path with a hidden slash",
        method: "GET",
        path: "/stock/..%2fpayments/p-1",
        with: &[],
        answers: &[400],
        shows: Refusal(Reason::MalformedRequest),
        why: "a path that two readers could read in two ways is refused, not repaired",
    },
    Case {
        title: "a payment with a bearer token",
        method: "GET",
        path: "/payments/p-1",
        with: &[Credential("till")],
        answers: &[401],
        shows: Refusal(Reason::BindingRequired),
        why: "`sensitivity: high` wants a token that is bound to a client certificate",
    },
    Case {
        title: "a bound token without its certificate",
        method: "GET",
        path: "/payments/p-1",
        with: &[Credential("till-bound")],
        answers: &[401],
        shows: Any,
        why: "a stolen token is worth nothing without the key of the certificate that it names",
    },
    Case {
        title: "a bound token with its certificate",
        method: "GET",
        path: "/payments/p-1",
        with: &[Credential("till-bound"), Certificate],
        answers: &[200],
        shows: Text("\"binding\": \"mutual-tls\""),
        why: "the certificate of this very connection is the one that the token names",
    },
    Case {
        title: "an API key on the service that it opens",
        method: "GET",
        path: "/stock/lamp",
        with: &[Credential("courier")],
        answers: &[200],
        shows: Text("\"proof\": \"api-key\""),
        why: "known by its keyed hash, from a network and for a service on its list",
    },
    Case {
        title: "an API key on another service",
        method: "GET",
        path: "/payments/p-1",
        with: &[Credential("courier")],
        answers: &[401],
        shows: Refusal(Reason::InvalidApiKey),
        why: "a key opens what is on its list; one for `sensitivity: high` does not even load",
    },
    Case {
        title: "a page of the shop asks before it calls",
        method: "OPTIONS",
        path: "/stock",
        with: &[Header("origin", "https://www.shop.example"), Header("access-control-request-method", "GET")],
        answers: &[204],
        shows: Shows::Header("access-control-allow-origin", "https://www.shop.example"),
        why: "the route's `cors` lists the origin; the preflight is answered at the edge",
    },
    Case {
        title: "a page of somebody else asks",
        method: "OPTIONS",
        path: "/stock",
        with: &[Header("origin", "https://evil.example"), Header("access-control-request-method", "GET")],
        answers: &[403],
        shows: Refusal(Reason::OriginRefused),
        why: "origins are closed by default and compared as a whole",
    },
    Case {
        title: "a path that no route names",
        method: "GET",
        path: "/admin",
        with: &[Credential("alice")],
        answers: &[404],
        shows: Refusal(Reason::NoRoute),
        why: "what no route names is refused",
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::shop::ORDERS_POLICY;

    #[test]
    fn titles_are_unique_and_every_case_says_why() {
        let mut titles: Vec<_> = CASES.iter().map(|case| case.title).collect();
        titles.sort_unstable();
        titles.dedup();
        assert_eq!(titles.len(), CASES.len());
        for case in CASES {
            assert!(
                !case.why.is_empty() && !case.answers.is_empty() && case.path.starts_with('/'),
                "{}",
                case.title
            );
            if let Refusal(reason) = case.shows {
                assert_eq!(case.answers.last(), Some(&reason.status()), "{}", case.title);
            }
        }
    }

    #[test]
    fn the_rule_is_where_the_table_says() {
        let told =
            CASES.iter().find_map(|case| case.why.strip_prefix("policies/orders.cedar:")).expect("a case");
        let line: usize = told.split(' ').next().and_then(|n| n.parse().ok()).expect("a line");
        let rule = ORDERS_POLICY.lines().nth(line - 1).expect("the file has that line");
        assert!(rule.starts_with("forbid") || rule.contains("not-your-orders"), "{rule}");
    }
}
