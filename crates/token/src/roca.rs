//! Recognises RSA keys that a broken key generator made (ROCA, CVE-2017-15361): their private half can be computed.
//!
//! Every prime of that generator is a power of 65537 modulo the product of the small primes, so the modulus is one
//! as well. A random modulus passes for one with a probability below 2^-27, in which case a good key is skipped.

/// The odd primes up to 167: for keys up to 992 bits the generator used these, for larger keys more.
const PRIMES: [u32; 38] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103,
    107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
];

/// Whether the modulus, big-endian, carries the generator's mark.
pub(crate) fn is_marked(modulus: &[u8]) -> bool {
    PRIMES.iter().all(|prime| is_power(remainder(modulus, *prime), *prime))
}

/// Whether `value` is a power of 65537 modulo `prime`.
fn is_power(value: u32, prime: u32) -> bool {
    let step = |power: &u32| Some(power * (65_537 % prime) % prime);
    let count = usize::try_from(prime).unwrap_or(usize::MAX);
    std::iter::successors(Some(1 % prime), step).take(count).any(|power| power == value)
}

fn remainder(number: &[u8], prime: u32) -> u32 {
    number.iter().fold(0, |rest, byte| (rest * 256 + u32::from(*byte)) % prime)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_power_of_65537_is_marked_and_its_neighbour_is_not() {
        assert!(is_marked(&[1]));
        assert!(is_marked(&65_537_u32.to_be_bytes()));
        assert!(is_marked(&(65_537_u64 * 65_537 * 65_537).to_be_bytes()));
        assert!(!is_marked(&65_538_u32.to_be_bytes()));
        assert!(!is_marked(&[0]));
    }
}
