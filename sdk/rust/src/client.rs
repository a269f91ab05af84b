//! The lab's service over HTTP.

use std::io::Read;
use std::time::Duration;

use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use serde::de::DeserializeOwned;
use serde_json::{json, Map, Value};

use crate::error::refused;
use crate::wire::{
    check_name, Computed, EnclaveAttestation, EncryptedPage, LaunchedVm, Unsealed, VmAttestation, Workload, MAX_PAGE,
};
use crate::{Error, Nonce};

/// Bytes of the largest answer that is read.
const MAX_ANSWER: u64 = 8 << 20;

/// A lab that runs somewhere on this machine. Cheap to clone, and usable from several threads; every call blocks, for at
/// most the timeout it was made with.
#[derive(Clone, Debug)]
pub struct Client {
    agent: ureq::Agent,
    base: String,
}

impl Client {
    /// A client of the lab at `url` (`http://127.0.0.1:8000`), with 30 s for each call. Nothing is sent yet.
    pub fn new(url: &str) -> Result<Self, Error> {
        Self::with_timeout(url, Duration::from_secs(30))
    }

    /// As [`Client::new`], with another limit for each call as a whole.
    pub fn with_timeout(url: &str, timeout: Duration) -> Result<Self, Error> {
        let base = url.trim_end_matches('/');
        let host = base.strip_prefix("http://").unwrap_or("");
        if host.is_empty() || host.contains(['/', '?', '#', '@', ' ']) {
            return Err(Error::Invalid("a URL such as http://127.0.0.1:8000 expected".into()));
        }
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(timeout))
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .build();
        Ok(Self { agent: config.into(), base: base.to_owned() })
    }

    /// Whether the lab answers.
    pub fn health(&self) -> Result<(), Error> {
        let answer: Value = read(self.agent.get(format!("{}/health", self.base)).call())?;
        match answer["status"].as_str() {
            Some("ok") => Ok(()),
            _ => Err(Error::UnknownAnswer("status ok expected".into())),
        }
    }

    /// The enclave of that name, which the lab loads at its first use: 1 to 128 characters.
    pub fn enclave(&self, name: &str) -> Result<Enclave<'_>, Error> {
        check_name("enclave_name", name)?;
        Ok(Enclave { client: self, name: name.to_owned() })
    }

    /// Launches a VM of this owner's (1 to 128 characters).
    pub fn launch(&self, owner: &str) -> Result<Vm<'_>, Error> {
        check_name("owner", owner)?;
        let launched = self.post("/vm/launch", &json!({"owner": owner}))?;
        Ok(Vm { client: self, owner: owner.to_owned(), launched })
    }

    fn post<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T, Error> {
        let request = self.agent.post(format!("{}{path}", self.base)).header("Content-Type", "application/json");
        read(request.send(body.to_string()))
    }
}

/// An enclave of the lab.
#[derive(Clone, Debug)]
pub struct Enclave<'a> {
    client: &'a Client,
    name: String,
}

impl Enclave<'_> {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs a workload in it.
    pub fn compute<W: Workload>(&self, workload: &W) -> Result<Computed<W::Output>, Error> {
        let payload = serde_json::to_value(workload).map_err(|error| Error::Invalid(error.to_string()))?;
        self.compute_by_name(W::NAME, &payload)
    }

    /// As [`Enclave::compute`], for workloads that this crate has no type of.
    pub fn compute_by_name<T: DeserializeOwned>(&self, workload: &str, payload: &Value) -> Result<Computed<T>, Error> {
        let body = json!({"enclave_name": self.name, "workload": workload, "payload": payload});
        self.client.post("/enclave/compute", &body)
    }

    /// Its attestation. With a nonce of the verifier's the answer is held to it; without, the lab makes one, and the
    /// evidence may be as old as anybody likes.
    pub fn attest(&self, nonce: Option<Nonce>, policy_version: &str) -> Result<EnclaveAttestation, Error> {
        let mut body = json!({"enclave_name": self.name, "policy_version": policy_version});
        if let Some(nonce) = nonce {
            body["nonce"] = json!(nonce);
        }
        let made: EnclaveAttestation = self.client.post("/enclave/attest", &body)?;
        check_nonce(nonce, made.nonce)?;
        Ok(made)
    }

    /// Seals data to its measurement and an identity. The token is the caller's to keep.
    pub fn seal(&self, identity: &str, data: &Map<String, Value>) -> Result<String, Error> {
        check_name("identity", identity)?;
        let body = json!({"enclave_name": self.name, "identity": identity, "data": data});
        let mut answer: Map<String, Value> = self.client.post("/enclave/seal", &body)?;
        match answer.remove("token") {
            Some(Value::String(token)) if !token.is_empty() => Ok(token),
            _ => Err(Error::UnknownAnswer("a token expected".into())),
        }
    }

    /// Opens what it sealed for this identity. Data that newer data replaced is refused, unless stale data will do.
    pub fn unseal(&self, identity: &str, token: &str, allow_stale: bool) -> Result<Unsealed, Error> {
        check_name("identity", identity)?;
        let body = json!({"enclave_name": self.name, "identity": identity, "token": token, "allow_stale": allow_stale});
        self.client.post("/enclave/unseal", &body)
    }
}

/// A VM of the lab.
#[derive(Clone, Debug)]
pub struct Vm<'a> {
    client: &'a Client,
    owner: String,
    launched: LaunchedVm,
}

impl Vm<'_> {
    /// As the lab named it.
    pub fn id(&self) -> &str {
        &self.launched.vm_id
    }

    /// As it was launched.
    pub fn launched(&self) -> &LaunchedVm {
        &self.launched
    }

    /// Writes a page, 1 to 8192 bytes, encrypted under a key of its own. Overwrites one that is there.
    pub fn encrypt(&self, page_id: u64, contents: &[u8]) -> Result<EncryptedPage, Error> {
        if contents.is_empty() || contents.len() > MAX_PAGE {
            return Err(Error::Invalid(format!("payload: 1 to {MAX_PAGE} bytes expected")));
        }
        let body = json!({"vm_id": self.id(), "page_id": page_id, "payload": STANDARD.encode(contents),
                          "encoding": "base64", "owner": self.owner});
        let page: EncryptedPage = self.client.post("/vm/encrypt", &body)?;
        if page.vm_id != self.id() || page.page_id != page_id {
            return Err(Error::UnknownAnswer("another page than the one that was written".into()));
        }
        Ok(page)
    }

    /// Its attestation; of the nonce as [`Enclave::attest`].
    pub fn attest(&self, nonce: Option<Nonce>) -> Result<VmAttestation, Error> {
        let mut request = self.client.agent.post(format!("{}/vm/attest", self.client.base)).query("vm_id", self.id());
        if let Some(nonce) = nonce {
            request = request.query("nonce", nonce.to_string());
        }
        let made: VmAttestation = read(request.send_empty())?;
        check_nonce(nonce, made.nonce)?;
        if made.vm_id != self.id() {
            return Err(Error::UnknownAnswer("the attestation of another VM".into()));
        }
        Ok(made)
    }
}

fn check_nonce(wanted: Option<Nonce>, got: Nonce) -> Result<(), Error> {
    match wanted {
        Some(nonce) if nonce != got => Err(Error::UnknownAnswer("evidence over another nonce".into())),
        _ => Ok(()),
    }
}

fn read<T: DeserializeOwned>(answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<T, Error> {
    let answer = answer.map_err(|error| Error::Unreachable(error.to_string()))?;
    let status = answer.status().as_u16();
    let mut body = Vec::new();
    let mut reader = answer.into_body().into_reader().take(MAX_ANSWER + 1);
    reader.read_to_end(&mut body).map_err(|error| Error::Unreachable(error.to_string()))?;
    if body.len() as u64 > MAX_ANSWER {
        return Err(Error::UnknownAnswer(format!("at most {MAX_ANSWER} bytes expected")));
    }
    match status {
        200..=299 => serde_json::from_slice(&body).map_err(|error| Error::UnknownAnswer(error.to_string())),
        400.. => Err(refused(status, &body)),
        _ => Err(Error::UnknownAnswer(format!("status {status}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_url_of_a_machine_and_nothing_more() {
        for good in ["http://127.0.0.1:8000", "http://[::1]:8000/", "http://localhost"] {
            assert!(Client::new(good).is_ok(), "{good}");
        }
        for bad in ["", "127.0.0.1:8000", "https://127.0.0.1", "http://", "http://a/b", "http://u@h", "http://h?x"] {
            assert!(matches!(Client::new(bad), Err(Error::Invalid(_))), "{bad}");
        }
    }

    #[test]
    fn refuses_names_and_pages_before_they_are_sent() {
        let client = Client::new("http://127.0.0.1:1").unwrap();
        for name in ["", &"n".repeat(129)] {
            assert!(matches!(client.enclave(name), Err(Error::Invalid(_))));
            assert!(matches!(client.launch(name), Err(Error::Invalid(_))));
            assert!(matches!(client.enclave("e").unwrap().seal(name, &Map::new()), Err(Error::Invalid(_))));
        }
        assert!(matches!(client.enclave(&"é".repeat(128)).unwrap().attest(None, "v1"), Err(Error::Unreachable(_))));
    }

    /// Answers one request with these bytes, whatever it is, and gives what it was.
    fn answering(answer: impl Into<Vec<u8>>) -> (Client, std::thread::JoinHandle<String>) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answer = answer.into();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let mut piece = [0; 4096];
            while !complete(&request) {
                match stream.read(&mut piece).unwrap() {
                    0 => break,
                    size => request.extend_from_slice(&piece[..size]),
                }
            }
            let _ = std::io::Write::write_all(&mut stream, &answer);
            String::from_utf8(request).unwrap()
        });
        (Client::with_timeout(&url, Duration::from_secs(10)).unwrap(), server)
    }

    fn complete(request: &[u8]) -> bool {
        let text = String::from_utf8_lossy(request).to_ascii_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
        let length =
            head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
        body.len() >= length
    }

    fn json(status: &str, body: &str) -> Vec<u8> {
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len()).into_bytes()
    }

    #[test]
    fn sends_what_the_routes_take() {
        let answer =
            format!(r#"{{"mrenclave":"{}","result":{{"counter":3,"mac":"{}"}}}}"#, "00".repeat(32), "11".repeat(32));
        let (client, server) = answering(json("200 OK", &answer));
        let done = client.enclave("e").unwrap().compute(&crate::wire::Counter { initial: 1, increments: 2 }).unwrap();
        assert_eq!(done.result.counter, 3);
        let request = server.join().unwrap();
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("POST /enclave/compute HTTP/1.1\r\n"), "{head}");
        let sent: Value = serde_json::from_str(body).unwrap();
        assert_eq!(
            sent,
            json!({"enclave_name": "e", "workload": "counter", "payload": {"initial": 1, "increments": 2}})
        );
    }

    #[test]
    fn takes_no_evidence_over_another_nonce() {
        let answer = format!(
            r#"{{"mrenclave":"{}","signer":"lab","nonce":"{}","policy_version":"v1"}}"#,
            "00".repeat(32),
            "11".repeat(16)
        );
        for (nonce, accepted) in [(Some(Nonce([0x11; 16])), true), (Some(Nonce([0x12; 16])), false), (None, true)] {
            let (client, server) = answering(json("200 OK", &answer));
            let made = client.enclave("e").unwrap().attest(nonce, "v1");
            assert_eq!(made.is_ok(), accepted, "{made:?}");
            server.join().unwrap();
        }
    }

    #[test]
    fn takes_no_answer_of_something_else() {
        let large = format!(r#"{{"status":"ok","more":"{}"}}"#, "x".repeat(MAX_ANSWER as usize));
        let answers = [
            json("200 OK", r#"{"status":"fine"}"#),
            json("200 OK", "<html>"),
            json("200 OK", &large),
            json("302 Found", "{}"),
            b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n".to_vec(),
            json("502 Bad Gateway", "<html>"),
        ];
        for answer in answers {
            let (client, server) = answering(answer);
            let error = client.health().unwrap_err();
            assert!(matches!(error, Error::UnknownAnswer(_)), "{error}");
            server.join().unwrap();
        }
        for answer in [&b""[..], b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{", b"SSH-2.0\r\n"] {
            let (client, server) = answering(answer);
            let error = client.health().unwrap_err();
            assert!(matches!(error, Error::Unreachable(_)), "{error}");
            server.join().unwrap();
        }
    }

    #[test]
    fn waits_for_no_longer_than_it_may() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap(); // which never answers
        let url = format!("http://{}", listener.local_addr().unwrap());
        let client = Client::with_timeout(&url, Duration::from_millis(50)).unwrap();
        assert!(matches!(client.health(), Err(Error::Unreachable(_))));
    }
}
