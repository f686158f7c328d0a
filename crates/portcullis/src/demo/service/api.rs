//! What the services know: a few orders, payments and articles, the same at every start.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::Kind;
use super::token::Caller;

/// The answer to one request of one caller.
pub(super) fn answer(kind: Kind, method: &Method, path: &str, caller: &Caller) -> (StatusCode, Value) {
    let segments: Vec<&str> = path.split('/').filter(|s| !s.is_empty()).collect();
    let found = match kind {
        Kind::Orders => orders(method, &segments),
        Kind::Payments => payments(&segments),
        Kind::Stock => stock(&segments),
    };
    let (status, content) = found.unwrap_or((StatusCode::NOT_FOUND, json!({ "error": "there is none" })));
    (status, json!({ "service": kind.word(), "answer": content, "called_by": caller }))
}

fn orders(method: &Method, segments: &[&str]) -> Option<(StatusCode, Value)> {
    let known = [("c-17", "1001", "lamp"), ("c-17", "1002", "chair"), ("c-42", "2001", "desk")];
    let shown = |(customer, id, article): &(&str, &str, &str)| json!({ "customer": customer, "id": id, "article": article });
    match segments {
        ["customers", customer, "orders"] => {
            let own: Vec<Value> = known.iter().filter(|(c, ..)| c == customer).map(shown).collect();
            Some((StatusCode::OK, json!(own)))
        }
        ["customers", customer, "orders", id] => {
            let order = known.iter().find(|(c, i, _)| c == customer && i == id)?;
            Some((StatusCode::OK, shown(order)))
        }
        ["customers", customer, "orders", id, "refund"] if method == Method::POST => {
            known.iter().find(|(c, i, _)| c == customer && i == id)?;
            Some((StatusCode::ACCEPTED, json!({ "refund": id, "state": "will be paid" })))
        }
        _ => None,
    }
}

fn payments(segments: &[&str]) -> Option<(StatusCode, Value)> {
    let ["payments", id] = segments else { return None };
    let amount = match *id {
        "p-1" => "49.00",
        "p-2" => "120.00",
        _ => return None,
    };
    Some((StatusCode::OK, json!({ "id": id, "amount": amount, "currency": "GBP" })))
}

fn stock(segments: &[&str]) -> Option<(StatusCode, Value)> {
    let articles = [("lamp", 12), ("chair", 3), ("desk", 0)];
    match segments {
        ["stock"] => {
            let all: Vec<Value> =
                articles.iter().map(|(sku, left)| json!({ "sku": sku, "left": left })).collect();
            Some((StatusCode::OK, json!(all)))
        }
        ["stock", sku] => {
            let (sku, left) = articles.iter().find(|(s, _)| s == sku)?;
            Some((StatusCode::OK, json!({ "sku": sku, "left": left })))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_answers_what_its_contract_names() {
        let table = [
            (Kind::Orders, Method::GET, "/customers/c-17/orders", 200),
            (Kind::Orders, Method::GET, "/customers/c-17/orders/1001", 200),
            (Kind::Orders, Method::GET, "/customers/c-17/orders/2001", 404),
            (Kind::Orders, Method::POST, "/customers/c-17/orders/1001/refund", 202),
            (Kind::Orders, Method::GET, "/customers/c-17/orders/1001/refund", 404),
            (Kind::Payments, Method::GET, "/payments/p-1", 200),
            (Kind::Payments, Method::GET, "/payments/p-3", 404),
            (Kind::Stock, Method::GET, "/stock", 200),
            (Kind::Stock, Method::GET, "/stock/lamp", 200),
            (Kind::Stock, Method::GET, "/orders", 404),
        ];
        for (kind, method, path, want) in table {
            let (status, body) = answer(kind, &method, path, &Caller::default());
            assert_eq!(status.as_u16(), want, "{kind:?} {method} {path}");
            assert_eq!(body["service"], kind.word());
        }
    }
}
