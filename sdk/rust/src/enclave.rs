//! An enclave in memory: loaded page by page, measured as SGX measures, entered by named ECALLs alone.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{json, Map, Value};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::kms::Kms;
use crate::{Error, Measurement, Nonce};

/// Bytes of a page, and of what one EEXTEND measures.
pub const PAGE: usize = 4096;
/// See [`PAGE`].
pub const CHUNK: usize = 256;

/// SECINFO.FLAGS of a page (Intel SDM, volume 3D, "SECINFO"): permissions, and the page's type from bit 8 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageFlags(pub u64);

impl PageFlags {
    /// A regular page, to be read.
    pub const R: Self = Self(0x201);
    /// To be read and written.
    pub const RW: Self = Self(0x203);
    /// To be read and executed.
    pub const RX: Self = Self(0x205);
    /// A thread control structure.
    pub const TCS: Self = Self(0x100);
}

/// MRENCLAVE as ECREATE, EADD, EEXTEND and EINIT build it (Intel SDM, volume 3D): SHA-256 over a record of 64 bytes for
/// each, and the bytes of each chunk that was measured.
#[derive(Clone)]
pub struct Measurer {
    hash: Sha256,
    size: u64,
}

impl Measurer {
    /// ECREATE: `size` is a power of two, `ssa_frame_size` in pages.
    pub fn ecreate(size: u64, ssa_frame_size: u32) -> Result<Self, Error> {
        if !size.is_power_of_two() || size < 2 * PAGE as u64 {
            return Err(Error::Invalid("size of an enclave: a power of two, of two pages at least, expected".into()));
        }
        let mut measurer = Self { hash: Sha256::new(), size };
        measurer.record(b"ECREATE\0", &[&ssa_frame_size.to_le_bytes(), &size.to_le_bytes()]);
        Ok(measurer)
    }

    /// EADD of the page at `offset`.
    pub fn eadd(&mut self, offset: u64, flags: PageFlags) -> Result<(), Error> {
        self.check(offset, PAGE)?;
        self.record(b"EADD\0\0\0\0", &[&offset.to_le_bytes(), &flags.0.to_le_bytes()]);
        Ok(())
    }

    /// EEXTEND of the 256 bytes at `offset`.
    pub fn eextend(&mut self, offset: u64, chunk: &[u8; CHUNK]) -> Result<(), Error> {
        self.check(offset, CHUNK)?;
        self.record(b"EEXTEND\0", &[&offset.to_le_bytes()]);
        self.hash.update(chunk);
        Ok(())
    }

    /// EINIT.
    pub fn einit(self) -> Measurement {
        Measurement(self.hash.finalize().into())
    }

    fn check(&self, offset: u64, unit: usize) -> Result<(), Error> {
        if offset % unit as u64 != 0 || offset >= self.size {
            return Err(Error::Invalid(format!(
                "offset {offset:#x}: inside of the enclave, and a multiple of {unit}, expected"
            )));
        }
        Ok(())
    }

    fn record(&mut self, leaf: &[u8; 8], fields: &[&[u8]]) {
        let mut record = [0; 64];
        let mut at = 8;
        record[..at].copy_from_slice(leaf);
        for field in fields {
            record[at..at + field.len()].copy_from_slice(field);
            at += field.len();
        }
        self.hash.update(record);
    }
}

/// What an ECALL may do while it runs.
pub struct Inside<'a> {
    sealing: Sealing<'a>,
    ocalls: &'a mut Vec<Value>,
}

impl Inside<'_> {
    /// An OCALL: the payload leaves the enclave in the clear, and the host echoes it.
    pub fn ocall(&mut self, name: &str, payload: Value) -> Value {
        let echo = json!({"ocall": name, "payload": payload});
        self.ocalls.push(echo.clone());
        echo
    }

    /// Seals to this enclave and an identity.
    pub fn seal(&self, identity: &str, data: &[u8]) -> Result<String, Error> {
        self.sealing.seal(identity, data)
    }

    /// Opens what this enclave sealed for the identity.
    pub fn unseal(&self, identity: &str, token: &str) -> Result<Zeroizing<Vec<u8>>, Error> {
        self.sealing.unseal(identity, token)
    }
}

struct Sealing<'a> {
    kms: &'a Kms,
    mrenclave: Measurement,
}

impl Sealing<'_> {
    fn seal(&self, identity: &str, data: &[u8]) -> Result<String, Error> {
        self.kms.seal(identity, self.mrenclave.as_bytes(), data)
    }
    fn unseal(&self, identity: &str, token: &str) -> Result<Zeroizing<Vec<u8>>, Error> {
        self.kms.unseal(identity, self.mrenclave.as_bytes(), token)
    }
}

type Call = Box<dyn Fn(&mut Inside<'_>, &Value) -> Result<Value, Error> + Send + Sync>;

/// An enclave that is being loaded. It cannot be entered: there is no method for it.
pub struct Loading {
    name: String,
    measurer: Measurer,
    calls: BTreeMap<String, Call>,
    next: u64,
}

impl Loading {
    /// An empty enclave of this size.
    pub fn create(name: &str, size: u64) -> Result<Self, Error> {
        Ok(Self { name: name.to_owned(), measurer: Measurer::ecreate(size, 1)?, calls: BTreeMap::new(), next: 0 })
    }

    /// Adds the next page, and measures all of it.
    pub fn page(mut self, flags: PageFlags, contents: &[u8; PAGE]) -> Result<Self, Error> {
        self.measurer.eadd(self.next, flags)?;
        for (index, chunk) in contents.chunks_exact(CHUNK).enumerate() {
            let chunk = chunk.try_into().expect("chunks of that size");
            self.measurer.eextend(self.next + (index * CHUNK) as u64, chunk)?;
        }
        self.next += PAGE as u64;
        Ok(self)
    }

    /// Adds the next page without measuring it: whatever it holds, the measurement is the same.
    pub fn unmeasured_page(mut self, flags: PageFlags) -> Result<Self, Error> {
        self.measurer.eadd(self.next, flags)?;
        self.next += PAGE as u64;
        Ok(self)
    }

    /// A way in. Closures are not measured; on hardware the code would be in the pages.
    pub fn ecall<F>(mut self, name: &str, call: F) -> Self
    where
        F: Fn(&mut Inside<'_>, &Value) -> Result<Value, Error> + Send + Sync + 'static,
    {
        self.calls.insert(name.to_owned(), Box::new(call));
        self
    }

    /// EINIT: nothing is added from here on.
    pub fn init(self, kms: &Kms) -> Enclave<'_> {
        Enclave { name: self.name, mrenclave: self.measurer.einit(), calls: self.calls, kms, ocalls: Vec::new() }
    }
}

/// An enclave that runs. Not for use by several threads at once (`&mut`): it has one thread control structure.
pub struct Enclave<'a> {
    name: String,
    mrenclave: Measurement,
    calls: BTreeMap<String, Call>,
    kms: &'a Kms,
    ocalls: Vec<Value>,
}

/// What an enclave says of itself. Unsigned: it shows what a report is about, and proves nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Of the enclave.
    pub mrenclave: Measurement,
    /// The verifier's.
    pub nonce: Nonce,
    /// SHA-256 over domain, measurement and nonce, each behind its length.
    pub digest: Measurement,
}

impl Report {
    /// Whether it is over this measurement and nonce.
    pub fn matches(&self, mrenclave: Measurement, nonce: Nonce) -> bool {
        *self == Report::over(mrenclave, nonce)
    }

    fn over(mrenclave: Measurement, nonce: Nonce) -> Self {
        let bytes = crate::kms::parts(&[b"cloister/lab-sdk/report/1", mrenclave.as_bytes(), nonce.as_bytes()]);
        Self { mrenclave, nonce, digest: Measurement(Sha256::digest(bytes).into()) }
    }
}

impl Enclave<'_> {
    /// Its measurement.
    pub fn mrenclave(&self) -> Measurement {
        self.mrenclave
    }

    /// Enters the enclave by a name that it has; any other is refused before anything of the enclave runs.
    pub fn enter(&mut self, call: &str, payload: &Value) -> Result<Value, Error> {
        let found = self.calls.get(call).ok_or_else(|| Error::UnknownCall(call.to_owned()))?;
        let sealing = Sealing { kms: self.kms, mrenclave: self.mrenclave };
        found(&mut Inside { sealing, ocalls: &mut self.ocalls }, payload)
    }

    /// What left the enclave by OCALLs, oldest first.
    pub fn ocalls(&self) -> &[Value] {
        &self.ocalls
    }

    /// Seals a JSON object to this enclave and an identity.
    pub fn seal(&self, identity: &str, data: &Map<String, Value>) -> Result<String, Error> {
        let bytes = Zeroizing::new(serde_json::to_vec(data).map_err(|error| Error::Invalid(error.to_string()))?);
        Sealing { kms: self.kms, mrenclave: self.mrenclave }.seal(identity, &bytes)
    }

    /// Opens what an enclave of this measurement sealed for the identity.
    pub fn unseal(&self, identity: &str, token: &str) -> Result<Map<String, Value>, Error> {
        let bytes = Sealing { kms: self.kms, mrenclave: self.mrenclave }.unseal(identity, token)?;
        serde_json::from_slice(&bytes).map_err(|_| Error::Integrity)
    }

    /// A report over the verifier's nonce.
    pub fn attest(&self, nonce: Nonce) -> Report {
        Report::over(self.mrenclave, nonce)
    }
}

impl fmt::Debug for Enclave<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Enclave")
            .field("name", &self.name)
            .field("mrenclave", &self.mrenclave)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loading() -> Loading {
        Loading::create("counter", 4 * PAGE as u64)
            .unwrap()
            .page(PageFlags::TCS, &[0; PAGE])
            .unwrap()
            .page(PageFlags::RX, &[1; PAGE])
            .unwrap()
            .ecall("double", |inside, payload| {
                inside.ocall("log", json!({"seen": payload}));
                Ok(json!(payload.as_i64().ok_or_else(|| Error::Invalid("a number expected".into()))? * 2))
            })
            .ecall("keep", |inside, payload| Ok(json!(inside.seal("alice", payload.to_string().as_bytes())?)))
    }

    #[test]
    fn is_entered_by_its_names_alone() {
        let kms = Kms::new([1; 32]);
        let mut enclave = loading().init(&kms);
        assert_eq!(enclave.enter("double", &json!(21)).unwrap(), json!(42));
        assert!(matches!(enclave.enter("Double", &json!(21)), Err(Error::UnknownCall(name)) if name == "Double"));
        assert!(matches!(enclave.enter("double", &json!("x")), Err(Error::Invalid(_))));
        assert_eq!(
            enclave.ocalls(),
            [json!({"ocall": "log", "payload": {"seen": 21}}), json!({"ocall": "log", "payload": {"seen": "x"}})]
        );
    }

    #[test]
    fn sealed_data_is_of_one_measurement_and_identity() {
        let kms = Kms::new([1; 32]);
        let mut enclave = loading().init(&kms);
        let data = Map::from_iter([("k".to_owned(), json!("v"))]);
        let token = enclave.seal("alice", &data).unwrap();
        assert_eq!(loading().init(&kms).unseal("alice", &token).unwrap(), data);
        assert!(matches!(enclave.unseal("bob", &token), Err(Error::Integrity)));
        let other = loading().page(PageFlags::RW, &[0; PAGE]).unwrap().init(&kms);
        assert!(matches!(other.unseal("alice", &token), Err(Error::Integrity)));
        let kept = enclave.enter("keep", &json!({"a": 1})).unwrap();
        assert_eq!(
            enclave.unseal("alice", kept.as_str().unwrap()).unwrap(),
            Map::from_iter([("a".to_owned(), json!(1))])
        );
    }

    #[test]
    fn measurement_changes_with_bytes_flags_and_order_but_not_with_unmeasured_pages_contents() {
        let of = |loading: Loading| loading.init(&Kms::new([1; 32])).mrenclave();
        let empty = || Loading::create("e", 4 * PAGE as u64).unwrap();
        let base = of(empty().page(PageFlags::RW, &[0; PAGE]).unwrap());
        let mut flipped = [0; PAGE];
        flipped[PAGE - 1] = 1;
        for other in [
            of(empty().page(PageFlags::RW, &flipped).unwrap()),
            of(empty().page(PageFlags::R, &[0; PAGE]).unwrap()),
            of(empty().unmeasured_page(PageFlags::RW).unwrap()),
            of(Loading::create("e", 8 * PAGE as u64).unwrap().page(PageFlags::RW, &[0; PAGE]).unwrap()),
        ] {
            assert_ne!(base, other);
        }
        assert_eq!(
            base,
            of(Loading::create("another name", 4 * PAGE as u64).unwrap().page(PageFlags::RW, &[0; PAGE]).unwrap())
        );
    }

    #[test]
    fn refuses_what_an_enclave_cannot_have() {
        for size in [0, PAGE as u64, 3 * PAGE as u64] {
            assert!(matches!(Measurer::ecreate(size, 1), Err(Error::Invalid(_))), "{size}");
        }
        let mut measurer = Measurer::ecreate(2 * PAGE as u64, 1).unwrap();
        assert!(measurer.eadd(1, PageFlags::R).is_err());
        assert!(measurer.eadd(2 * PAGE as u64, PageFlags::R).is_err());
        assert!(measurer.eextend(128, &[0; CHUNK]).is_err());
        let full = Loading::create("e", 2 * PAGE as u64)
            .unwrap()
            .page(PageFlags::R, &[0; PAGE])
            .unwrap()
            .page(PageFlags::R, &[0; PAGE])
            .unwrap();
        assert!(full.page(PageFlags::R, &[0; PAGE]).is_err());
    }

    #[test]
    fn reports_are_over_measurement_and_nonce() {
        let kms = Kms::new([1; 32]);
        let enclave = loading().init(&kms);
        let report = enclave.attest(Nonce([1; 16]));
        assert!(report.matches(enclave.mrenclave(), Nonce([1; 16])));
        assert!(!report.matches(enclave.mrenclave(), Nonce([2; 16])));
        assert!(!report.matches(Measurement([0; 32]), Nonce([1; 16])));
        let forged = Report { nonce: Nonce([2; 16]), ..report };
        assert!(!forged.matches(enclave.mrenclave(), Nonce([2; 16])));
    }

    /// MRENCLAVE of .sgxs files, of which one is an enclave of somebody else's with its SIGSTRUCT.
    #[test]
    fn measures_what_hardware_measures() {
        let Some(vectors) =
            std::env::var_os("CLOISTER_VECTORS").map(std::path::PathBuf::from).filter(|path| path.is_dir())
        else {
            eprintln!("SKIPPED: public vectors not found: set CLOISTER_VECTORS to their folder");
            return;
        };
        let folder = vectors.join("lab/sgx");
        let sigstruct = std::fs::read(folder.join("fortanix_test_enclave.sigstruct.bin")).unwrap();
        let measured = measure_sgxs(&std::fs::read(folder.join("fortanix_test_enclave.sgxs")).unwrap());
        assert_eq!(measured.as_bytes()[..], sigstruct[960..992]);
        let expected: Value = serde_json::from_slice(&std::fs::read(folder.join("expected.json")).unwrap()).unwrap();
        let text = expected.to_string();
        for name in ["lab_min.sgxs", "lab_partial.sgxs"] {
            let measured = measure_sgxs(&std::fs::read(folder.join(name)).unwrap()).to_string();
            assert!(text.contains(&measured), "{name}: {measured} in {text}");
        }
    }

    /// Records of 64 bytes; EEXTEND and UNMEASRD are followed by their 256.
    fn measure_sgxs(mut stream: &[u8]) -> Measurement {
        let mut measurer = None;
        while let Some((record, rest)) = stream.split_at_checked(64) {
            let word = |at: usize| u64::from_le_bytes(record[at..at + 8].try_into().unwrap());
            stream = rest;
            match &record[..8] {
                b"ECREATE\0" => {
                    let frame = u32::from_le_bytes(record[8..12].try_into().unwrap());
                    measurer = Some(Measurer::ecreate(word(12), frame).unwrap());
                }
                b"EADD\0\0\0\0" => measurer.as_mut().unwrap().eadd(word(8), PageFlags(word(16))).unwrap(),
                b"EEXTEND\0" => {
                    measurer.as_mut().unwrap().eextend(word(8), stream[..CHUNK].try_into().unwrap()).unwrap();
                    stream = &stream[CHUNK..];
                }
                b"UNMEASRD" => stream = &stream[CHUNK..],
                other => panic!("{other:?}"),
            }
        }
        assert!(stream.is_empty());
        measurer.unwrap().einit()
    }
}
