//! ECDSA verification on P-256 and P-384, by AWS-LC, with keys that were read once.

use aws_lc_rs::digest::{self, Digest};
use aws_lc_rs::signature::{ParsedPublicKey, ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1};

use crate::boundary::{guarded, View};

/// `cr_ecdsa_key`: immutable.
pub struct Key {
    key: ParsedPublicKey,
    digest: &'static digest::Algorithm,
}

/// A point that is not on its curve is refused by the library when it reads the key.
fn read(curve: u32, point: &[u8]) -> Option<Key> {
    let (key, digest) = match curve {
        256 => (ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point), &digest::SHA256),
        384 => (ParsedPublicKey::new(&ECDSA_P384_SHA384_ASN1, point), &digest::SHA384),
        _ => return None,
    };
    Some(Key { key: key.ok()?, digest })
}

fn verifies(key: &Key, digest: &[u8], signature: &[u8]) -> bool {
    Digest::import_less_safe(digest, key.digest)
        .is_ok_and(|digest| key.key.verify_digest_sig(&digest, signature).is_ok())
}

#[no_mangle]
pub unsafe extern "C" fn cr_ecdsa_key_new(curve: u32, point: View) -> *mut Key {
    guarded(|| read(curve, unsafe { point.bytes() }?))
        .flatten()
        .map_or(std::ptr::null_mut(), |key| Box::into_raw(Box::new(key)))
}

#[no_mangle]
pub unsafe extern "C" fn cr_ecdsa_key_free(key: *mut Key) {
    if !key.is_null() {
        guarded(|| drop(unsafe { Box::from_raw(key) }));
    }
}

#[no_mangle]
pub unsafe extern "C" fn cr_ecdsa_verify(key: *const Key, digest: View, signature: View) -> i32 {
    let verified = guarded(|| {
        let key = unsafe { key.as_ref() }?;
        let (digest, signature) = unsafe { (digest.bytes()?, signature.bytes()?) };
        Some(verifies(key, digest, signature))
    });
    i32::from(verified.flatten() == Some(true))
}
