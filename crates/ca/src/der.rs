//! The few pieces of DER that a certificate of ours is compared with.
//!
//! These are written here, and not by the library that builds certificates, so that what one of them gets wrong the
//! other notices.
//!
//! Sources: X.690 §8.1.3, §10.1.

/// One element: tag, shortest length, contents.
pub(crate) fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let length = contents.len().to_be_bytes();
    match contents.len() {
        short @ 0..=127 => out.push(u8::try_from(short).unwrap_or(u8::MAX)),
        _ => {
            let digits: Vec<u8> = length.into_iter().skip_while(|byte| *byte == 0).collect();
            out.push(0x80 | u8::try_from(digits.len()).unwrap_or(u8::MAX));
            out.extend(digits);
        }
    }
    out.extend_from_slice(contents);
    out
}

/// A sequence of elements.
pub(crate) fn sequence(elements: &[Vec<u8>]) -> Vec<u8> {
    element(0x30, &elements.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_the_shortest() {
        let table = [
            (0, &[0x86, 0][..]),
            (127, &[0x86, 127]),
            (128, &[0x86, 0x81, 128]),
            (255, &[0x86, 0x81, 255]),
            (256, &[0x86, 0x82, 1, 0]),
            (2048, &[0x86, 0x82, 8, 0]),
        ];
        for (length, head) in table {
            let made = element(0x86, &vec![b'a'; length]);
            assert_eq!((made.get(..head.len()), made.len()), (Some(head), head.len() + length), "{length}");
        }
        assert_eq!(sequence(&[vec![5, 0], vec![5, 0]]), [0x30, 4, 5, 0, 5, 0]);
    }
}
