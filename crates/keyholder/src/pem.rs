//! Private keys in PEM, written and read.
//!
//! Sources: RFC 7468 §10.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portcullis_core::Sensitive;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;

/// One object under its label.
pub(crate) fn write(label: &str, der: &[u8]) -> Sensitive<String> {
    let digits = Sensitive::new(STANDARD.encode(der));
    // Room for all of it from the start: growing would leave a key behind in memory that was given back.
    let mut text = String::with_capacity(2 * digits.expose().len() + 2 * label.len() + 64);
    text.extend(["-----BEGIN ", label, "-----\n"]);
    for line in digits.expose().as_bytes().chunks(64) {
        text.extend([std::str::from_utf8(line).unwrap_or_default(), "\n"]);
    }
    text.extend(["-----END ", label, "-----\n"]);
    Sensitive::new(text)
}

/// The first private key in a text.
pub(crate) fn private_key(text: &[u8]) -> Option<Sensitive<Vec<u8>>> {
    let key = PrivatePkcs8KeyDer::from_pem_slice(text).ok()?;
    Some(Sensitive::new(key.secret_pkcs8_der().to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let text = write("PRIVATE KEY", &[8; 148]);
        assert_eq!(private_key(text.expose().as_bytes()).expect("a key").expose(), &[8; 148]);
        assert!(text.expose().lines().all(|line| line.len() <= 64));
        assert!(private_key(b"nothing").is_none());
    }
}
