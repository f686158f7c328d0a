//! Whether a PEM text holds what it should; what is in it is judged where it is used.
//!
//! Not here: validity, names and purposes of certificates (`portcullis-identity`).

use std::sync::Arc;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::Context;
use crate::plan::{Certificate, Inlined, Secret};
use crate::raw::gateway::RawCertificate;
use crate::raw::{FilePath, SecretSource};
use crate::yaml::{At, Report, Site, Slot, quote};

impl Context<'_, '_> {
    /// A file of one or more certificates.
    pub(crate) fn certificates(&mut self, path: &Slot<FilePath>) -> Option<Inlined> {
        let path = path.get()?;
        let inlined = self.files.text(path, self.report)?;
        let mut count = 0;
        for certificate in CertificateDer::pem_slice_iter(inlined.text.as_bytes()) {
            if certificate.is_err() {
                self.report.say(&path.site, format!("file {} is damaged PEM", quote(&path.0)));
                return None;
            }
            count += 1;
        }
        if count == 0 {
            self.report.say(&path.site, format!("file {} holds no certificate", quote(&path.0)));
        }
        (count > 0).then_some(inlined)
    }

    /// A file that is named once and may be left out.
    pub(crate) fn optional_certificates(&mut self, path: &Slot<FilePath>) -> Option<Inlined> {
        path.get().and_then(|_| self.certificates(path))
    }

    /// A private key, PEM.
    pub(crate) fn private_key(&mut self, source: &At<SecretSource>) -> Option<Secret> {
        let secret = self.files.secret(source, self.report)?;
        is_private_key(&secret, &source.site, self.report).then_some(secret)
    }

    /// A chain and its key.
    pub(crate) fn certificate(&mut self, raw: &RawCertificate) -> Option<Certificate> {
        let chain = self.certificates(&raw.file);
        let key = raw.key.get().and_then(|source| self.private_key(source));
        Some(Certificate { chain: chain?, key: key? })
    }

    /// Any text.
    pub(crate) fn text(&mut self, path: &At<FilePath>) -> Option<Inlined> {
        self.files.text(path, self.report)
    }
}

/// The certificates of a text that was found to hold some, in DER.
pub(crate) fn certificates_of(text: &Inlined) -> Vec<Vec<u8>> {
    let read = CertificateDer::pem_slice_iter(text.text.as_bytes());
    read.filter_map(|certificate| certificate.ok().map(|der| der.to_vec())).collect()
}

fn is_private_key(secret: &Secret, site: &Site, report: &mut Report) -> bool {
    // SECURITY: the fault of the parser is dropped: it may hold bytes of the key (C13).
    let good = PrivateKeyDer::from_pem_slice(secret.expose()).is_ok();
    if !good {
        report.say(site, "is not a private key in PEM");
    }
    good
}

/// Whether a key set shows private parts (C13).
pub(crate) fn key_set_is_public(set: &Inlined) -> Result<(), &'static str> {
    let value: serde_json::Value = serde_json::from_str(&set.text).map_err(|_| "is not a key set in JSON")?;
    let keys = value.get("keys").and_then(serde_json::Value::as_array).ok_or("has no list `keys`")?;
    if keys.is_empty() {
        return Err("has no key");
    }
    let private = ["d", "k", "p", "q", "dp", "dq", "qi", "oth"];
    let shows = |key: &serde_json::Value| private.iter().any(|part| key.get(part).is_some());
    if keys.iter().any(shows) { Err("holds a private or shared key") } else { Ok(()) }
}

/// As an `Arc<str>`.
pub(crate) fn arc(text: &str) -> Arc<str> {
    Arc::from(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c13_a_key_set_with_private_parts_is_refused() {
        let table = [
            (r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AA"}]}"#, true),
            (r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AA","d":"canary"}]}"#, false),
            (r#"{"keys":[{"kty":"oct","k":"canary"}]}"#, false),
            (r#"{"keys":[]}"#, false),
            (r"{}", false),
            ("keys", false),
        ];
        for (text, good) in table {
            let set = Inlined { file: arc("jwks.json"), text: arc(text) };
            let judged = key_set_is_public(&set);
            assert_eq!(judged.is_ok(), good, "{text}");
            assert!(!format!("{judged:?}").contains("canary"));
        }
    }
}
