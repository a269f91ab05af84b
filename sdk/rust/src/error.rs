use serde::Deserialize;

/// What the lab says of one field of a request (status 422).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Problem {
    /// A stable word: "missing", "extra_forbidden", "string_too_long", …
    #[serde(rename = "type")]
    pub kind: String,
    /// The way to the field: "body", "payload", …
    #[serde(rename = "loc", default)]
    pub place: Vec<Place>,
    /// A sentence.
    #[serde(rename = "msg")]
    pub message: String,
}

/// One step of a [`Problem`]'s place: a member's name, or an index.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Place {
    /// Of an object.
    Member(String),
    /// Of a list.
    Index(u64),
}

impl Problem {
    /// The name of the field, if the problem is one of a field.
    pub fn field(&self) -> Option<&str> {
        match self.place.last() {
            Some(Place::Member(name)) => Some(name),
            _ => None,
        }
    }
}

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The lab answered, and the answer is no: 400, 403, 404, 409, 422, …
    #[error("the lab refused ({status}): {detail}")]
    Refused {
        /// Of HTTP.
        status: u16,
        /// The lab's sentence, or those of its problems, joined.
        detail: String,
        /// By field, where the lab says so (422).
        problems: Vec<Problem>,
    },
    /// The TEE of a [`crate::tee::Tee`] answered, and the answer is no.
    #[error("the TEE refused ({code}): {detail}")]
    TeeRefused {
        /// Of Cloister's error codes.
        code: String,
        /// A sentence.
        detail: String,
    },
    /// Nobody answered, or not in time.
    #[error("the lab cannot be reached: {0}")]
    Unreachable(String),
    /// Something answered that is not the lab, or not a lab that this client knows.
    #[error("an answer that the lab does not give: {0}")]
    UnknownAnswer(String),
    /// What was to be sent cannot be: a size or a form that the lab refuses anyway.
    #[error("invalid: {0}")]
    Invalid(String),
    /// What should be a token of a [`crate::kms::Kms`] is not base64url.
    #[error("Token was not valid base64")]
    NotBase64,
    /// A token was changed, or is of another key, identity or measurement.
    #[error("Ciphertext integrity check failed")]
    Integrity,
    /// An ECALL that the enclave does not have.
    #[error("no ECALL named '{0}'")]
    UnknownCall(String),
    /// The operating system has no randomness.
    #[error("no randomness")]
    NoRandomness,
}

impl Error {
    /// Of [`Error::Refused`].
    pub fn status(&self) -> Option<u16> {
        match self {
            Error::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// The problems with this field, of [`Error::Refused`].
    pub fn problems_of<'a>(&'a self, field: &'a str) -> impl Iterator<Item = &'a Problem> {
        let problems: &[Problem] = match self {
            Error::Refused { problems, .. } => problems,
            _ => &[],
        };
        problems.iter().filter(move |problem| problem.field() == Some(field))
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Detail {
    Text(String),
    Problems(Vec<Problem>),
}

#[derive(Deserialize)]
struct Refusal {
    detail: Detail,
}

/// The error that an answer with a status of 400 or more is. A body that is no refusal of the lab's is told as such.
pub(crate) fn refused(status: u16, body: &[u8]) -> Error {
    match serde_json::from_slice::<Refusal>(body) {
        Ok(Refusal { detail: Detail::Text(detail) }) => Error::Refused { status, detail, problems: Vec::new() },
        Ok(Refusal { detail: Detail::Problems(problems) }) => {
            let told: Vec<_> = problems
                .iter()
                .map(|problem| match problem.field() {
                    Some(field) => format!("{field}: {}", problem.message),
                    None => problem.message.clone(),
                })
                .collect();
            Error::Refused { status, detail: told.join("; "), problems }
        }
        Err(_) => Error::UnknownAnswer(format!("status {status} without a detail")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_a_sentence_and_problems_by_field() {
        let error = refused(404, br#"{"detail":"VM not found"}"#);
        assert_eq!(error.status(), Some(404));
        assert_eq!(error.to_string(), "the lab refused (404): VM not found");
        let body = br#"{"detail":[{"type":"missing","loc":["body","owner"],"msg":"field required"},
                                  {"type":"int_type","loc":["body","pages",3],"msg":"a number"}]}"#;
        let error = refused(422, body);
        assert_eq!(error.to_string(), "the lab refused (422): owner: field required; a number");
        assert_eq!(error.problems_of("owner").next().unwrap().kind, "missing");
        assert_eq!(error.problems_of("pages").count(), 0);
    }

    #[test]
    fn other_bodies_are_no_refusals_of_the_lab() {
        for body in [&b""[..], b"{}", b"<html>", br#"{"detail":7}"#, br#"{"detail":[{"msg":"x"}]}"#] {
            assert!(matches!(refused(502, body), Error::UnknownAnswer(_)), "{body:?}");
        }
        assert_eq!(Error::Integrity.status(), None);
        assert_eq!(Error::Integrity.problems_of("x").count(), 0);
    }
}
