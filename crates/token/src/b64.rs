//! Base64url with exactly one spelling for each value.
//!
//! INVARIANT: what decodes here encodes back to the same text: no padding, no white space, no other alphabet, no
//! non-zero trailing bits (C6, RFC 4648 §3.5, RFC 7515 §2). Two texts never mean the same token.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The bytes that `text` stands for, if it is their one spelling.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// The bytes of a value of fixed length.
pub(crate) fn decode_array<const N: usize>(text: &str) -> Option<[u8; N]> {
    decode(text)?.try_into().ok()
}

/// The one spelling of `bytes`.
pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Writes the spelling of `bytes` behind what `out` already has.
pub(crate) fn encode_into(bytes: &[u8], out: &mut String) {
    URL_SAFE_NO_PAD.encode_string(bytes, out);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn c6_another_spelling_is_refused() {
        for bad in
            ["Zg==", "Zg=", "Zh", "Zm9v\n", " Zm9v", "Zm9", "Zm+v", "Zm/v", "Z", "Zm9v=", "Zm9v.", "Zm9vé"]
        {
            assert_eq!(decode(bad), None, "{bad:?}");
        }
        assert_eq!(decode("Zg"), Some(b"f".to_vec()));
        assert_eq!(decode(""), Some(Vec::new()));
        assert_eq!(decode_array::<2>("Zm9v"), None);
    }

    proptest! {
        #[test]
        fn c6_what_decodes_encodes_back_to_the_same_text(text in "[A-Za-z0-9_=+/-]{0,12}") {
            if let Some(bytes) = decode(&text) {
                prop_assert_eq!(encode(bytes), text);
            }
        }
    }
}
