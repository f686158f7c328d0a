//! Reads SPDX licence expressions: `AND`, `OR`, `WITH`, brackets, and the old `/` for `OR`.
//!
//! Sources: SPDX specification 2.3, annex D.

/// Can the expression be met with allowed licences alone? `A WITH B` is asked for as one name.
///
/// # Errors
/// The expression cannot be read.
pub(crate) fn satisfied(expression: &str, allowed: &dyn Fn(&str) -> bool) -> Result<bool, String> {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut tokens: Tokens<'_> = spaced.split_whitespace().peekable();
    let met = any(&mut tokens, allowed)?;
    match tokens.next() {
        None => Ok(met),
        Some(rest) => Err(format!("cannot read on at `{rest}`")),
    }
}

type Tokens<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any(tokens: &mut Tokens<'_>, allowed: &dyn Fn(&str) -> bool) -> Result<bool, String> {
    let mut met = all(tokens, allowed)?;
    while tokens.next_if_eq(&"OR").is_some() {
        met |= all(tokens, allowed)?;
    }
    Ok(met)
}

fn all(tokens: &mut Tokens<'_>, allowed: &dyn Fn(&str) -> bool) -> Result<bool, String> {
    let mut met = one(tokens, allowed)?;
    while tokens.next_if_eq(&"AND").is_some() {
        met &= one(tokens, allowed)?;
    }
    Ok(met)
}

fn one(tokens: &mut Tokens<'_>, allowed: &dyn Fn(&str) -> bool) -> Result<bool, String> {
    match tokens.next() {
        Some("(") => {
            let met = any(tokens, allowed)?;
            tokens.next_if_eq(&")").map(|_| met).ok_or_else(|| "a bracket stays open".to_owned())
        }
        Some(word @ (")" | "AND" | "OR" | "WITH")) => Err(format!("`{word}` where a licence should be")),
        Some(id) if tokens.next_if_eq(&"WITH").is_some() => {
            let exception = tokens.next().ok_or_else(|| "nothing after `WITH`".to_owned())?;
            Ok(allowed(&format!("{id} WITH {exception}")))
        }
        Some(id) => Ok(allowed(id)),
        None => Err("it ends too early".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_is_met_by_what_is_allowed_or_not() {
        let allowed = |id: &str| ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception"].contains(&id);
        let table = [
            ("MIT", Ok(true)),
            ("GPL-3.0-only", Ok(false)),
            ("GPL-3.0-only OR MIT", Ok(true)),
            ("MIT AND GPL-3.0-only", Ok(false)),
            ("MIT AND (GPL-3.0-only OR Apache-2.0)", Ok(true)),
            ("GPL-3.0-only OR MIT AND ISC", Ok(false)),
            ("MIT/Apache-2.0", Ok(true)),
            ("Apache-2.0 WITH LLVM-exception", Ok(true)),
            ("GPL-2.0-only WITH Classpath-exception-2.0", Ok(false)),
            ("(MIT", Err(())),
            ("MIT MIT", Err(())),
            ("OR MIT", Err(())),
            ("", Err(())),
        ];
        for (expression, want) in table {
            assert_eq!(satisfied(expression, &allowed).map_err(drop), want, "{expression}");
        }
    }
}
