//! The client against a lab that really runs: `CLOISTER_LAB_BINARY` names the program `cloister`. Without it, or with one
//! that has no `lab serve`, the tests are skipped, and say so.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use cloister_lab::tee::Tee;
use cloister_lab::wire::{Counter, Inference, KeywordSearch, SealedSecret};
use cloister_lab::{Client, Error, Nonce};
use serde_json::{json, Map, Value};

struct Lab {
    process: Child,
    client: Client,
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The program, if it has this command of `lab`; else says that the test is skipped.
fn program(command: &str) -> Option<std::ffi::OsString> {
    let Some(program) = std::env::var_os("CLOISTER_LAB_BINARY") else {
        eprintln!("SKIPPED: CLOISTER_LAB_BINARY is not set");
        return None;
    };
    let help = Command::new(&program).args(["lab", command, "--help"]).output();
    let help = help.expect("CLOISTER_LAB_BINARY can be started");
    if !String::from_utf8_lossy(&help.stdout).contains(&format!("lab {command}")) {
        eprintln!("SKIPPED: {} has no `lab {command}`", program.to_string_lossy());
        return None;
    }
    Some(program)
}

/// A process that says in one JSON line that it is ready, and the line.
fn start(program: &std::ffi::OsStr, arguments: &[&str]) -> (Child, Value) {
    let mut process = Command::new(program)
        .arg("lab")
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let mut line = String::new();
    BufReader::new(process.stdout.take().expect("a pipe")).read_line(&mut line).expect("its first line");
    (process, serde_json::from_str(&line).expect("a JSON line once it is ready"))
}

/// A lab of the test's own on a free port.
fn lab() -> Option<Lab> {
    let (process, ready) = start(&program("serve")?, &["serve", "--port", "0", "--json"]);
    let client = Client::new(ready["url"].as_str().expect("its url")).expect("a URL that this client takes");
    Some(Lab { process, client })
}

/// A folder of the test's own, removed at its end.
struct Folder(std::path::PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn asks_the_tee_that_a_program_is_in() {
    let Some(program) = program("device") else { return };
    let folder = Folder(std::env::temp_dir().join(format!("cloister-sdk-{}", std::process::id())));
    std::fs::create_dir(&folder.0).unwrap();
    let path = |name: &str| folder.0.join(name).to_str().unwrap().to_owned();
    let arguments = ["device", "--state", &path("machine"), "--socket", &path("tee.sock"), "--program", "/bin/true"];
    let (mut process, ready) = start(&program, &arguments);
    let mut tee = Tee::connect(ready["socket"].as_str().unwrap()).unwrap();
    let before = tee.report(&[7; 64]).unwrap();
    assert_eq!((before.len(), &before[128..192]), (1024, &[7; 64][..]));
    tee.extend_rtmr(3, &[1; 48]).unwrap();
    let after = tee.report(&[7; 64]).unwrap();
    assert_ne!(before[512 + 352..512 + 400], after[512 + 352..512 + 400], "RTMR3 of TDINFO");
    let refused = tee.extend_rtmr(1, &[1; 48]).unwrap_err();
    assert!(matches!(&refused, Error::TeeRefused { code, .. } if code == "permission_denied"), "{refused}");
    let quote = tee.quote(&[9; 64]).unwrap().evidence;
    assert_eq!((&quote[..2], &quote[48 + 520..48 + 584]), (&[4, 0][..], &[9; 64][..]), "version 4, over our bytes");
    assert_eq!(hex::encode(&quote[48 + 136..48 + 184]), ready["mrtd"].as_str().unwrap());
    process.kill().unwrap();
    process.wait().unwrap();
    assert!(matches!(tee.report(&[7; 64]), Err(Error::Unreachable(_))));
}

#[test]
fn is_healthy() {
    let Some(lab) = lab() else { return };
    lab.client.health().unwrap();
}

#[test]
fn runs_each_workload() {
    let Some(lab) = lab() else { return };
    let enclave = lab.client.enclave("sdk").unwrap();
    let search = KeywordSearch {
        documents: vec!["alpha beta".into(), "Alpha gamma alpha".into(), "none".into()],
        keyword: "ALPHA".into(),
    };
    let found = enclave.compute(&search).unwrap();
    let counts = found.result.0;
    assert_eq!((counts[&0], counts[&1]), (1, 2));
    assert_eq!(counts.get(&2).copied().unwrap_or(0), 0);
    let recovered =
        enclave.compute(&SealedSecret { secret: "the secret of alice".into(), identity: "alice".into() }).unwrap();
    assert_eq!(recovered.mrenclave, found.mrenclave, "the same enclave");
    assert_eq!(recovered.result.recovered, "the secret of alice");
    assert!(!recovered.result.token.contains("secret of"));
    let inferred = enclave.compute(&Inference { vector: vec![3.0, 4.0] }).unwrap().result;
    assert!((inferred.norm - 5.0).abs() < 1e-9);
    assert_eq!(enclave.compute(&Counter { initial: -2, increments: 5 }).unwrap().result.counter, 3);
    let by_name = enclave.compute_by_name::<BTreeMap<String, Value>>("counter", &json!({"initial": 1})).unwrap();
    assert_eq!(by_name.result["counter"], json!(2));
}

#[test]
fn says_why_a_payload_is_refused() {
    let Some(lab) = lab() else { return };
    let enclave = lab.client.enclave("sdk").unwrap();
    let refused = enclave.compute(&KeywordSearch { documents: vec![], keyword: String::new() }).unwrap_err();
    assert_eq!(refused.status(), Some(422));
    assert!(refused.to_string().contains("keyword"), "{refused}");
    let refused = enclave.compute_by_name::<Value>("no such workload", &json!({})).unwrap_err();
    assert_eq!(refused.status(), Some(422), "{refused}");
    assert!(refused.problems_of("workload").next().is_some() || refused.to_string().contains("workload"), "{refused}");
}

#[test]
fn attests_over_the_nonce_that_it_is_given() {
    let Some(lab) = lab() else { return };
    let enclave = lab.client.enclave("sdk").unwrap();
    let nonce = Nonce::random().unwrap();
    let made = enclave.attest(Some(nonce), "v2").unwrap();
    assert_eq!((made.nonce, made.policy_version.as_str()), (nonce, "v2"));
    let again = enclave.attest(None, "v1").unwrap();
    assert_eq!(again.mrenclave, made.mrenclave);
    assert_ne!(again.nonce, nonce);
    let vm = lab.client.launch("bob").unwrap();
    let made = vm.attest(Some(nonce)).unwrap();
    assert_eq!((made.nonce, made.measurement), (nonce, vm.launched().measurement));
}

#[test]
fn seals_to_an_enclave_and_an_identity() {
    let Some(lab) = lab() else { return };
    let enclave = lab.client.enclave("sdk").unwrap();
    let data = Map::from_iter([("k".to_owned(), json!("v"))]);
    let token = enclave.seal("alice", &data).unwrap();
    let opened = match enclave.unseal("alice", &token, false) {
        // A lab with the first seven routes alone has no such route.
        Err(error) if error.status() == Some(404) => return eprintln!("SKIPPED: this lab does not unseal"),
        opened => opened.unwrap(),
    };
    assert_eq!((opened.data, opened.version), (data, opened.current));
    assert!(matches!(enclave.unseal("bob", &token, false), Err(Error::Refused { .. })));
    let mut reversed: Vec<u8> = token.into_bytes();
    reversed.reverse();
    let refused = enclave.unseal("alice", &String::from_utf8(reversed).unwrap(), false).unwrap_err();
    assert_eq!(refused.status(), Some(400), "{refused}");
}

#[test]
fn encrypts_pages_and_measures_them() {
    let Some(lab) = lab() else { return };
    let vm = lab.client.launch("bob").unwrap();
    assert_eq!((vm.id().len(), vm.launched().vcpu_id), (12, 0));
    let first = vm.encrypt(0, b"hello").unwrap();
    assert_ne!(first.measurement, vm.launched().measurement);
    let second = vm.encrypt(1, &[0xff; 8192]).unwrap();
    assert_ne!(second.measurement, first.measurement);
    assert_eq!(vm.attest(None).unwrap().measurement, second.measurement);
    let over = vm.encrypt(0, b"hello").unwrap();
    assert_ne!((over.mac, over.measurement), (first.mac, second.measurement), "never the same way twice");
    assert!(matches!(vm.encrypt(0, b""), Err(Error::Invalid(_))));
}
