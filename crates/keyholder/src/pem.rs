//! PEM, written and read.
//!
//! Sources: RFC 7468.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portcullis_core::Sensitive;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};

/// One object under its label.
pub(crate) fn write(label: &str, der: &[u8]) -> String {
    let digits = STANDARD.encode(der);
    let lines: Vec<&str> =
        digits.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// The certificates in a text.
pub(crate) fn certificates(text: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_slice_iter(text).collect::<Result<_, _>>().ok()
}

/// The one private key in a text.
pub(crate) fn private_key(text: &[u8]) -> Option<Sensitive<Vec<u8>>> {
    let key = PrivatePkcs8KeyDer::from_pem_slice(text).ok()?;
    Some(Sensitive::new(key.secret_pkcs8_der().to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let text =
            write("CERTIFICATE", &[7; 100]) + &write("PRIVATE KEY", &[8; 48]) + &write("CERTIFICATE", &[9]);
        let read = certificates(text.as_bytes()).expect("certificates");
        assert_eq!(read, [CertificateDer::from(vec![7; 100]), CertificateDer::from(vec![9])]);
        assert_eq!(private_key(text.as_bytes()).expect("a key").expose(), &[8; 48]);
        assert!(text.lines().all(|line| line.len() <= 64));
        assert!(private_key(b"nothing").is_none());
    }
}
