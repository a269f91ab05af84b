//! `dcap-qvl` and `sev` behind a C interface, for `bench-attestation --rivals`. An object serves one thread at a time.
//! Pointers are of the caller, must be valid for the length given, and are read during the call only; a panic ends the
//! program.
use std::{ffi::c_void, slice};

use dcap_qvl::{verify::QuoteVerifier, QuoteCollateralV3};
use sev::certs::snp::{Certificate, Verifiable};
use sev::firmware::guest::AttestationReport;
use sev::parser::ByteParser;

/// A verifier with its root, and the collateral both as bytes and parsed.
struct Dcap {
    verifier: QuoteVerifier,
    text: Vec<u8>,
    parsed: QuoteCollateralV3,
    now: u64,
}

unsafe fn bytes<'a>(at: *const u8, size: usize) -> &'a [u8] {
    slice::from_raw_parts(at, size)
}

/// # Safety
/// As the module says. The object lives until the program ends.
#[no_mangle]
pub unsafe extern "C" fn rival_dcap_new(
    root: *const u8,
    root_size: usize,
    collateral: *const u8,
    collateral_size: usize,
    now: u64,
) -> *mut c_void {
    let text = bytes(collateral, collateral_size).to_vec();
    let parsed = serde_json::from_slice(&text).expect("collateral");
    let verifier = QuoteVerifier::new(bytes(root, root_size).to_vec());
    Box::into_raw(Box::new(Dcap { verifier, text, parsed, now })).cast()
}

/// From the bytes of quote and collateral to the verdict.
/// # Safety
/// `rival` is from `rival_dcap_new`.
#[no_mangle]
pub unsafe extern "C" fn rival_dcap_cold(rival: *mut c_void, quote: *const u8, size: usize) -> bool {
    let rival = &*rival.cast::<Dcap>();
    let Ok(collateral) = serde_json::from_slice::<QuoteCollateralV3>(&rival.text) else { return false };
    rival.verifier.verify(bytes(quote, size), &collateral, rival.now).is_ok()
}

/// From the bytes of the quote to the verdict, with collateral that was parsed before.
/// # Safety
/// `rival` is from `rival_dcap_new`.
#[no_mangle]
pub unsafe extern "C" fn rival_dcap_warm(rival: *mut c_void, quote: *const u8, size: usize) -> bool {
    let rival = &*rival.cast::<Dcap>();
    rival.verifier.verify(bytes(quote, size), &rival.parsed, rival.now).is_ok()
}

/// The certificate of a chip, parsed and taken as known.
/// # Safety
/// As the module says. The object lives until the program ends.
#[no_mangle]
pub unsafe extern "C" fn rival_snp_new(vek: *const u8, size: usize) -> *mut c_void {
    Box::into_raw(Box::new(Certificate::from_der(bytes(vek, size)).expect("certificate"))).cast()
}

/// From the bytes of the report to the verdict on its signature, under a known certificate.
/// # Safety
/// `rival` is from `rival_snp_new`.
#[no_mangle]
pub unsafe extern "C" fn rival_snp_warm(rival: *mut c_void, report: *const u8, size: usize) -> bool {
    let Ok(report) = AttestationReport::from_bytes(bytes(report, size)) else { return false };
    (&*rival.cast::<Certificate>(), &report).verify().is_ok()
}
