//! The nearest known word.

/// Words longer than this are not compared: the cost is quadratic.
const LONGEST: usize = 64;

/// The known word that `found` was probably meant to be.
pub(crate) fn nearest<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (found.chars().count() / 3).clamp(1, 3);
    known
        .into_iter()
        .filter_map(|word| distance(found, word).filter(|d| *d <= limit).map(|d| (d, word)))
        .min()
        .map(|(_, word)| word)
}

/// How many letters to insert, remove, replace or swap (optimal string alignment).
fn distance(a: &str, b: &str) -> Option<usize> {
    let (a, b): (Vec<char>, Vec<char>) = (letters(a), letters(b));
    if a.len() > LONGEST || b.len() > LONGEST {
        return None;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    let mut last = None;
    for (row, x) in a.iter().enumerate() {
        let current = next_row(*x, last, &b, Rows { row, above: &above, before: &before });
        before = std::mem::replace(&mut above, current);
        last = Some(*x);
    }
    above.last().copied()
}

fn letters(word: &str) -> Vec<char> {
    word.chars().take(LONGEST + 1).map(|c| if c == '-' { '_' } else { c.to_ascii_lowercase() }).collect()
}

#[derive(Clone, Copy)]
struct Rows<'a> {
    row: usize,
    above: &'a [usize],
    before: &'a [usize],
}

fn next_row(x: char, last: Option<char>, b: &[char], rows: Rows<'_>) -> Vec<usize> {
    let at = |row: &[usize], column: usize| row.get(column).copied().unwrap_or(usize::MAX / 2);
    let mut current = vec![rows.row + 1];
    let mut left = None;
    for (column, y) in b.iter().enumerate() {
        let replaced = at(rows.above, column) + usize::from(x != *y);
        let shifted = at(rows.above, column + 1).min(at(&current, column)) + 1;
        let swaps = left == Some(x) && last == Some(*y) && column > 0;
        let swapped = if swaps { at(rows.before, column - 1) + 1 } else { usize::MAX };
        current.push(replaced.min(shifted).min(swapped));
        left = Some(*y);
    }
    current
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_finger_are_understood() {
        let known = ["listen", "workers", "certificates", "trusted_proxies"];
        let table = [
            ("lisen", Some("listen")),
            ("lsiten", Some("listen")),
            ("Listen", Some("listen")),
            ("certificate", Some("certificates")),
            ("trusted-proxies", Some("trusted_proxies")),
            ("colour", None),
            ("", None),
        ];
        for (found, want) in table {
            assert_eq!(nearest(found, known), want, "{found}");
        }
        assert_eq!(distance("ab", "ba"), Some(1));
        assert_eq!(distance("kitten", "sitting"), Some(3));
        assert_eq!(distance(&"a".repeat(65), "a"), None);
    }
}
