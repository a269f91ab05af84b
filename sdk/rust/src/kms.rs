//! Keys by identity and measurement, and what is sealed under them.

use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::Engine;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::Error;

const DOMAIN: &[u8] = b"cloister/lab-sdk/kms/1";
const NONCE: usize = 24;

/// A KMS in memory: one master key, from which a key follows for each identity and context. The same master key gives the
/// same keys. Nothing is stored; what is sealed is the caller's to keep.
pub struct Kms {
    master: Zeroizing<[u8; 32]>,
}

impl Kms {
    /// With a master key that is held elsewhere.
    pub fn new(master: [u8; 32]) -> Self {
        Self { master: Zeroizing::new(master) }
    }

    /// With a new master key, which ends with this object, and all that is sealed under it.
    pub fn random() -> Result<Self, Error> {
        let mut master = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *master).map_err(|_| Error::NoRandomness)?;
        Ok(Self { master })
    }

    /// The key of this identity in this context (an enclave's measurement, a page of a VM): HKDF-SHA256 (RFC 5869) with
    /// the domain, then each part behind its length, as info, so that no two pairs share a key.
    pub fn derive(&self, identity: &str, context: &[u8]) -> Zeroizing<[u8; 32]> {
        let mut key = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(None, &*self.master)
            .expand(&parts(&[DOMAIN, identity.as_bytes(), context]), &mut *key)
            .expect("32 bytes are within HKDF's limit");
        key
    }

    /// Seals for this identity and context: base64url of nonce and ciphertext, XChaCha20-Poly1305 under [`Kms::derive`].
    /// Never the same token twice.
    pub fn seal(&self, identity: &str, context: &[u8], plaintext: &[u8]) -> Result<String, Error> {
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce).map_err(|_| Error::NoRandomness)?;
        let key = self.derive(identity, context);
        let cipher = XChaCha20Poly1305::new((&*key).into());
        let sealed = cipher
            .encrypt(&XNonce::from(nonce), Payload { msg: plaintext, aad: DOMAIN })
            .map_err(|_| Error::Invalid("too large to be sealed".into()))?;
        let mut token = nonce.to_vec();
        token.extend(sealed);
        Ok(URL_SAFE_NO_PAD.encode(token))
    }

    /// Opens what [`Kms::seal`] gave for the same identity and context. The tag is checked first: nothing of a token that
    /// was changed is decrypted.
    pub fn unseal(&self, identity: &str, context: &[u8], token: &str) -> Result<Zeroizing<Vec<u8>>, Error> {
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| Error::NotBase64)?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE).ok_or(Error::Integrity)?;
        let nonce: [u8; NONCE] = nonce.try_into().expect("split there");
        let key = self.derive(identity, context);
        let cipher = XChaCha20Poly1305::new((&*key).into());
        let opened = cipher.decrypt(&XNonce::from(nonce), Payload { msg: sealed, aad: DOMAIN });
        opened.map(Zeroizing::new).map_err(|_| Error::Integrity)
    }
}

/// Each part behind its length in 8 bytes, big-endian.
pub(crate) fn parts(all: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    for part in all {
        out.extend((part.len() as u64).to_be_bytes());
        out.extend_from_slice(part);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kms() -> Kms {
        Kms::new([7; 32])
    }

    /// Computed with Python's hmac module after RFC 5869.
    #[test]
    fn derives_the_documented_key() {
        assert_eq!(
            hex::encode(*kms().derive("alice", &[1, 2, 3])),
            "5e07a0255e7296b1781cd441fbe822c88c9fd047597d0c98d684dd513b54cec3"
        );
    }

    #[test]
    fn keys_depend_on_master_identity_and_context() {
        let key = kms().derive("a", b"b");
        assert_eq!(key, kms().derive("a", b"b"));
        for other in [kms().derive("a", b"c"), kms().derive("b", b"b"), Kms::new([8; 32]).derive("a", b"b")] {
            assert_ne!(key, other);
        }
        // Where the parts are joined with a colon these two are one key.
        assert_ne!(kms().derive("a:b", b"c"), kms().derive("a", b"b:c"));
    }

    #[test]
    fn opens_for_the_same_identity_and_context_alone() {
        let token = kms().seal("alice", b"m1", b"secret").unwrap();
        assert_eq!(*kms().unseal("alice", b"m1", &token).unwrap(), b"secret");
        assert!(matches!(kms().unseal("bob", b"m1", &token), Err(Error::Integrity)));
        assert!(matches!(kms().unseal("alice", b"m2", &token), Err(Error::Integrity)));
        assert!(matches!(Kms::random().unwrap().unseal("alice", b"m1", &token), Err(Error::Integrity)));
        assert_ne!(kms().seal("alice", b"m1", b"secret").unwrap(), token);
        assert_eq!(*kms().unseal("a", b"", &kms().seal("a", b"", b"").unwrap()).unwrap(), b"");
    }

    #[test]
    fn refuses_every_flipped_bit_and_every_cut() {
        let token = kms().seal("alice", b"m1", b"secret").unwrap();
        let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let refused = kms().unseal("alice", b"m1", &URL_SAFE_NO_PAD.encode(changed));
            assert!(matches!(refused, Err(Error::Integrity)), "bit {bit}");
        }
        for length in 0..bytes.len() {
            let refused = kms().unseal("alice", b"m1", &URL_SAFE_NO_PAD.encode(&bytes[..length]));
            assert!(matches!(refused, Err(Error::Integrity)), "{length} bytes");
        }
    }

    #[test]
    fn says_what_is_no_base64() {
        for broken in ["!", "a", "AA==", "AA A", "A+/="] {
            let error = kms().unseal("a", b"", broken).unwrap_err();
            assert_eq!(error.to_string(), "Token was not valid base64", "{broken}");
        }
        assert_eq!(kms().unseal("a", b"", "AAAA").unwrap_err().to_string(), "Ciphertext integrity check failed");
    }
}
