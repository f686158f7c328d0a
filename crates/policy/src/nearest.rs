//! The name that a person probably meant.
//!
//! INVARIANT: work is bounded: only the first [`MOST`] names are compared, and long texts not at all.

/// More names than this are not compared.
const MOST: usize = 20_000;
/// Longer texts are not compared.
const LONGEST: usize = 160;

/// The known name that differs least from `typed`, if it differs by a third of its length at most.
pub(crate) fn nearest<'n>(typed: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    if typed.len() > LONGEST {
        return None;
    }
    let limit = (typed.len() / 3).max(1);
    known
        .take(MOST)
        .filter(|name| name.len().abs_diff(typed.len()) <= limit && name.len() <= LONGEST)
        .map(|name| (distance(typed.as_bytes(), name.as_bytes()), name))
        .filter(|(far, _)| *far <= limit)
        .min()
        .map(|(_, name)| name)
}

/// `did you mean …?`, where there is something to suggest.
pub(crate) fn hint<'n>(typed: &str, known: impl Iterator<Item = &'n str>) -> Option<String> {
    nearest(typed, known).map(|name| format!("did you mean `{name}`?"))
}

/// Levenshtein's distance, by rows.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (y, cell) in b.iter().zip(row.iter_mut().skip(1)) {
            let swap = diagonal + usize::from(x != y);
            diagonal = *cell;
            left = swap.min(*cell + 1).min(left + 1);
            *cell = left;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_a_stranger_is_not() {
        let known = ["orders/get-order", "orders/list", "payments/refund"];
        let table = [
            ("orders/get-ordr", Some("orders/get-order")),
            ("order/list", Some("orders/list")),
            ("stock/count", None),
            ("", None),
        ];
        for (typed, want) in table {
            assert_eq!(nearest(typed, known.into_iter()), want, "{typed:?}");
        }
    }

    #[test]
    fn distances_are_levenshteins() {
        let table = [("", "abc", 3), ("kitten", "sitting", 3), ("abc", "abc", 0), ("ab", "ba", 2)];
        for (a, b, want) in table {
            assert_eq!(distance(a.as_bytes(), b.as_bytes()), want, "{a} {b}");
            assert_eq!(distance(b.as_bytes(), a.as_bytes()), want, "{b} {a}");
        }
    }
}
