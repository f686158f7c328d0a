//! Values that must not be seen.
//!
//! INVARIANT: a [`Sensitive`] shows nothing in `Debug`, cannot be displayed or serialised, and is wiped when
//! dropped (11.2.8, 11.6.2d, threat C13).

use std::fmt;

use zeroize::Zeroize;

/// A secret. Whoever needs the value says so with [`Sensitive::expose`], which is easy to search for.
#[derive(Clone, Default)]
pub struct Sensitive<T: Zeroize>(T);

impl<T: Zeroize> Sensitive<T> {
    /// Takes the secret in.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// Hands the secret out, by reference only.
    pub fn expose(&self) -> &T {
        &self.0
    }

    /// Hands the secret out to be written.
    pub fn expose_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: Zeroize> Drop for Sensitive<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<T: Zeroize> fmt::Debug for Sensitive<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[sensitive]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c13_debug_shows_nothing_of_a_secret() {
        assert_eq!(format!("{:?}", Sensitive::new("hunter2".to_owned())), "[sensitive]");
    }
}
