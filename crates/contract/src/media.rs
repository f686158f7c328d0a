//! Media types, as far as a contract needs them.
//!
//! Sources: RFC 9110 §8.3.1; RFC 6839 §3.1 (`+json`).

/// The essence of a `Content-Type` value: lower case, without parameters. `None` if it is not one.
pub(crate) fn essence(value: &str) -> Option<String> {
    let essence = value.split(';').next()?.trim_matches([' ', '\t']).to_ascii_lowercase();
    let (main, sub) = essence.split_once('/')?;
    (is_token(main) && is_token(sub)).then_some(essence)
}

fn is_token(text: &str) -> bool {
    let mark = |b| b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || mark(b))
}

/// Whether `range`, a key of `content`, covers `essence`; the more of it is written out, the higher.
pub(crate) fn covers(range: &str, essence: &str) -> Option<u8> {
    if range == essence {
        return Some(2);
    }
    let main = range.strip_suffix("/*")?;
    match essence.split_once('/') {
        _ if main == "*" => Some(0),
        Some((of, _)) if of == main => Some(1),
        _ => None,
    }
}

/// Whether a body of this type is JSON.
pub(crate) fn is_json(essence: &str) -> bool {
    essence == "application/json" || essence == "text/json" || essence.ends_with("+json")
}

/// Whether a body of this type is a form of names and values.
pub(crate) fn is_form(essence: &str) -> bool {
    essence == "application/x-www-form-urlencoded"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_has_one_essence() {
        let table = [
            ("application/json", Some("application/json")),
            ("Application/JSON; charset=utf-8", Some("application/json")),
            (" application/json ;a=b", Some("application/json")),
            ("application/json, text/html", None),
            ("application", None),
            ("application/", None),
            ("application/js on", None),
            ("", None),
        ];
        for (given, want) in table {
            assert_eq!(essence(given).as_deref(), want, "{given:?}");
        }
    }

    #[test]
    fn the_closest_range_covers_best() {
        assert_eq!(covers("application/json", "application/json"), Some(2));
        assert_eq!(covers("application/*", "application/json"), Some(1));
        assert_eq!(covers("*/*", "application/json"), Some(0));
        assert_eq!(covers("text/*", "application/json"), None);
        assert_eq!(covers("application/jso", "application/json"), None);
        assert!(is_json("application/problem+json") && !is_json("application/jsonx"));
    }
}
