//! What goes over the lab's routes. Fields that a lab with the first seven routes alone does not answer are `Option`s; members
//! that are not known here are left alone, so that a newer lab is understood.

use std::collections::BTreeMap;

use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::{Error, Measurement, Nonce};

/// What an enclave runs: a name that the lab knows, what goes in, what comes out.
pub trait Workload: Serialize {
    /// As the lab lists it.
    const NAME: &'static str;
    /// What comes out.
    type Output: DeserializeOwned;
}

/// Counts a word in documents, whatever the case of its letters.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct KeywordSearch {
    /// To be searched.
    pub documents: Vec<String>,
    /// A word.
    pub keyword: String,
}

/// How often the word stands in each document, by index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeywordCounts(pub BTreeMap<usize, u64>);

impl<'de> Deserialize<'de> for KeywordCounts {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mut counts = BTreeMap::new();
        for (index, count) in BTreeMap::<String, u64>::deserialize(from)? {
            counts.insert(index.parse().map_err(|_| serde::de::Error::custom("an index expected"))?, count);
        }
        Ok(Self(counts))
    }
}

impl Workload for KeywordSearch {
    const NAME: &'static str = "keyword_search";
    type Output = KeywordCounts;
}

/// Seals a secret and opens it again.
#[derive(Clone, PartialEq, Serialize)]
pub struct SealedSecret {
    /// Not empty.
    pub secret: String,
    /// Whose it is; not empty.
    pub identity: String,
}

/// What [`SealedSecret`] did.
#[derive(Clone, PartialEq, Deserialize)]
pub struct RecoveredSecret {
    /// The sealed form, base64url.
    pub token: String,
    /// What was in it.
    pub recovered: String,
}

impl Workload for SealedSecret {
    const NAME: &'static str = "sealed_secret";
    type Output = RecoveredSecret;
}

/// The length of a vector, and a commitment to it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Inference {
    /// Any length.
    pub vector: Vec<f64>,
}

/// What [`Inference`] found.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Inferred {
    /// The Euclidean norm.
    pub norm: f64,
    /// SHA-256 over the vector's text.
    pub commitment: Measurement,
}

impl Workload for Inference {
    const NAME: &'static str = "inference";
    type Output = Inferred;
}

/// Counts on from a number.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Counter {
    /// Where it starts.
    pub initial: i64,
    /// How far it goes.
    pub increments: u64,
}

/// Where [`Counter`] got to.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Counted {
    /// initial + increments.
    pub counter: i64,
    /// Over value and increments.
    pub mac: Measurement,
}

impl Workload for Counter {
    const NAME: &'static str = "counter";
    type Output = Counted;
}

/// What an enclave computed, and which one it was.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Computed<T> {
    /// Of the enclave.
    pub mrenclave: Measurement,
    /// Of the workload.
    pub result: T,
}

/// An enclave's attestation.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct EnclaveAttestation {
    /// Of the enclave.
    pub mrenclave: Measurement,
    /// Who signed it.
    pub signer: String,
    /// The verifier's, else the lab's.
    pub nonce: Nonce,
    /// As it was asked for.
    pub policy_version: String,
    /// A DCAP quote, where the lab makes one.
    #[serde(default, deserialize_with = "optional_base64")]
    pub quote: Option<Vec<u8>>,
}

/// What was sealed before.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Unsealed {
    /// A JSON object.
    pub data: Map<String, Value>,
    /// Of this data.
    pub version: u64,
    /// The newest; greater than `version` when this data was replaced since.
    pub current: u64,
}

/// A VM that was launched.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct LaunchedVm {
    /// 12 hexadecimal digits.
    pub vm_id: String,
    /// The first one.
    pub vcpu_id: u32,
    /// Over metadata and encrypted pages; changes with each page.
    pub measurement: Measurement,
}

/// A page that was encrypted.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct EncryptedPage {
    /// As asked for.
    pub vm_id: String,
    /// As asked for.
    pub page_id: u64,
    /// Of the VM, with this page.
    pub measurement: Measurement,
    /// Over the encrypted page.
    pub mac: Measurement,
    /// As the host sees it, where the lab shows it.
    #[serde(default, deserialize_with = "optional_base64")]
    pub ciphertext: Option<Vec<u8>>,
}

/// A VM's attestation.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct VmAttestation {
    /// As asked for.
    pub vm_id: String,
    /// The verifier's, else the lab's.
    pub nonce: Nonce,
    /// At that moment.
    pub measurement: Measurement,
    /// Of the launch, fixed since; 96 hexadecimal digits, where the lab has one.
    #[serde(default)]
    pub launch_digest: Option<String>,
    /// An SEV-SNP attestation report, where the lab makes one.
    #[serde(default, deserialize_with = "optional_base64")]
    pub report: Option<Vec<u8>>,
}

fn optional_base64<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<u8>>, D::Error> {
    let Some(text) = Option::<String>::deserialize(from)? else { return Ok(None) };
    STANDARD.decode(text).map(Some).map_err(|_| serde::de::Error::custom("base64 expected"))
}

/// The longest name that the lab takes.
pub(crate) const MAX_NAME: usize = 128;
/// The largest page.
pub(crate) const MAX_PAGE: usize = 8192;

/// A name of an enclave, an owner or an identity: 1 to 128 characters.
pub(crate) fn check_name(what: &str, name: &str) -> Result<(), Error> {
    match name.chars().count() {
        1..=MAX_NAME => Ok(()),
        _ => Err(Error::Invalid(format!("{what}: 1 to {MAX_NAME} characters expected"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn workloads_are_written_as_the_lab_reads_them() {
        let search = KeywordSearch { documents: vec!["a".into()], keyword: "a".into() };
        assert_eq!(serde_json::to_value(&search).unwrap(), json!({"documents": ["a"], "keyword": "a"}));
        let counter = Counter { initial: -1, increments: 2 };
        assert_eq!(serde_json::to_value(&counter).unwrap(), json!({"initial": -1, "increments": 2}));
    }

    #[test]
    fn counts_are_by_index() {
        let counts: KeywordCounts = serde_json::from_value(json!({"0": 1, "10": 3, "2": 0})).unwrap();
        assert_eq!(counts.0, BTreeMap::from([(0, 1), (2, 0), (10, 3)]));
        for broken in [json!({"x": 1}), json!({"-1": 1}), json!({"0": -1}), json!([1])] {
            assert!(serde_json::from_value::<KeywordCounts>(broken).is_err());
        }
    }

    #[test]
    fn evidence_is_there_or_not_but_never_broken() {
        let bare =
            json!({"mrenclave": "00".repeat(32), "signer": "lab", "nonce": "11".repeat(16), "policy_version": "v1"});
        assert_eq!(serde_json::from_value::<EnclaveAttestation>(bare.clone()).unwrap().quote, None);
        let mut with = bare.clone();
        with["quote"] = json!("AAEC");
        with["of a newer lab"] = json!(1);
        assert_eq!(serde_json::from_value::<EnclaveAttestation>(with).unwrap().quote, Some(vec![0, 1, 2]));
        let mut broken = bare.clone();
        broken["quote"] = json!("A");
        assert!(serde_json::from_value::<EnclaveAttestation>(broken).is_err());
        let mut short = bare;
        short["nonce"] = json!("11");
        assert!(serde_json::from_value::<EnclaveAttestation>(short).is_err());
    }
}
