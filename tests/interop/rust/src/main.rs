//! Reads cases, one JSON object a line, and writes what `dcap-qvl` (quotes) and `sev` (SEV-SNP reports) say of each.
use std::io::{self, BufRead, Write};

use dcap_qvl::{verify::QuoteVerifier, QuoteCollateralV3};
use serde_json::{json, Value};
use sev::certs::snp::{Chain, Verifiable};
use sev::firmware::guest::AttestationReport;
use sev::parser::ByteParser;

type Failure = Box<dyn std::error::Error>;

fn text<'a>(case: &'a Value, name: &str) -> Result<&'a str, Failure> {
    case[name].as_str().ok_or_else(|| format!("case without {name}").into())
}

fn bytes(case: &Value, name: &str) -> Result<Vec<u8>, Failure> {
    Ok(std::fs::read(text(case, name)?)?)
}

/// The TCB status; debug and service TDs are a policy's matter here.
fn quote(case: &Value) -> Result<String, Failure> {
    let quote = bytes(case, "evidence")?;
    let collateral: QuoteCollateralV3 = serde_json::from_slice(&bytes(case, "collateral")?)?;
    let time = case["time"].as_u64().ok_or("case without time")?;
    let verifier = QuoteVerifier::new(bytes(case, "root")?).allow_debug(true).allow_service_td(true);
    match verifier.verify(&quote, &collateral, time) {
        Ok(report) => Ok(report.status),
        Err(error) => Err(format!("{error:#}").into()),
    }
}

fn snp(case: &Value) -> Result<String, Failure> {
    let chain = Chain::from_der(&bytes(case, "ark")?, &bytes(case, "ask")?, &bytes(case, "vek")?)?;
    let report = AttestationReport::from_bytes(&bytes(case, "evidence")?)?;
    (&chain, &report).verify()?;
    Ok("authentic".into())
}

fn main() -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let case: Value = serde_json::from_str(&line?)?;
        let (verifier, verdict) = match text(&case, "kind")? {
            "quote" => ("dcap-qvl", quote(&case)),
            "snp" => ("sev", snp(&case)),
            kind => return Err(format!("unknown kind {kind}").into()),
        };
        let (verdict, detail) = match verdict {
            Ok(status) => (status, String::new()),
            Err(error) => ("reject".to_string(), error.to_string()),
        };
        writeln!(out, "{}", json!({"id": case["id"], "verifier": verifier, "verdict": verdict, "detail": detail}))?;
    }
    Ok(())
}
