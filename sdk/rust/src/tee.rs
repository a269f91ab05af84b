//! The TEE that a program is in, where that is the lab's: the socket of `cloister lab device`, or the one that a simulated TD
//! inherits (`docs/protocol/tee-socket.md`).

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::Error;

const DOMAIN: &str = "cloister/tee/1";
const MAX_ANSWER: usize = 1 << 20;

/// Evidence as the TEE gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// A TDX quote.
    pub evidence: Vec<u8>,
    /// Certificates that came along, if they are not in the evidence.
    pub collateral: Option<Vec<u8>>,
}

/// A connection to a TEE. Calls block, for no longer than the timeout between two pieces of an answer; after one that failed
/// on the way the connection is closed, so that a late answer is not taken for the next one.
#[derive(Debug)]
pub struct Tee {
    stream: Option<UnixStream>,
}

impl Tee {
    /// The TEE that listens at `path`, with 30 s for each call.
    pub fn connect(path: impl AsRef<Path>) -> Result<Self, Error> {
        let stream = UnixStream::connect(path).map_err(unreachable)?;
        Self::over(stream, Duration::from_secs(30))
    }

    /// Over a connection that is there already; a simulated TD has one at descriptor 3.
    pub fn over(stream: UnixStream, timeout: Duration) -> Result<Self, Error> {
        stream.set_read_timeout(Some(timeout)).map_err(unreachable)?;
        stream.set_write_timeout(Some(timeout)).map_err(unreachable)?;
        Ok(Self { stream: Some(stream) })
    }

    /// A TDREPORT over 64 bytes, which this machine alone can check.
    pub fn report(&mut self, report_data: &[u8; 64]) -> Result<Vec<u8>, Error> {
        let answer = self.ask(&request(&[Item::Text("report"), Item::Bytes(report_data)]))?;
        answered(&answer, |values| values.bytes())
    }

    /// RTMR\[index\] = SHA-384(RTMR\[index\] || digest). Programs may extend 2 and 3.
    pub fn extend_rtmr(&mut self, index: u8, digest: &[u8; 48]) -> Result<(), Error> {
        if index > 3 {
            return Err(Error::Invalid("RTMR: 0 to 3 expected".into()));
        }
        let answer = self.ask(&request(&[Item::Text("extend"), Item::Small(index), Item::Bytes(digest)]))?;
        answered(&answer, |_| Some(()))
    }

    /// A quote over 64 bytes, which anyone who trusts the lab's root can verify.
    pub fn quote(&mut self, report_data: &[u8; 64]) -> Result<Quote, Error> {
        let answer = self.ask(&request(&[Item::Text("quote"), Item::Bytes(report_data)]))?;
        answered(&answer, |values| {
            let evidence = values.bytes()?;
            let collateral = if values.null() { None } else { Some(values.bytes()?) };
            Some(Quote { evidence, collateral })
        })
    }

    fn ask(&mut self, request: &[u8]) -> Result<Vec<u8>, Error> {
        let mut stream =
            self.stream.take().ok_or_else(|| Error::Unreachable("closed after an earlier failure".into()))?;
        let answer = exchange(&mut stream, request)?;
        self.stream = Some(stream);
        Ok(answer)
    }
}

fn unreachable(error: std::io::Error) -> Error {
    Error::Unreachable(error.to_string())
}

/// A frame each way: a length in 4 bytes, big-endian, and as many bytes.
fn exchange(stream: &mut UnixStream, request: &[u8]) -> Result<Vec<u8>, Error> {
    let mut frame = (request.len() as u32).to_be_bytes().to_vec();
    frame.extend_from_slice(request);
    stream.write_all(&frame).map_err(unreachable)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length).map_err(unreachable)?;
    let length = u32::from_be_bytes(length) as usize;
    if length > MAX_ANSWER {
        return Err(Error::UnknownAnswer(format!("at most {MAX_ANSWER} bytes expected")));
    }
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer).map_err(unreachable)?;
    Ok(answer)
}

enum Item<'a> {
    Text(&'a str),
    Bytes(&'a [u8]),
    Small(u8),
}

/// Deterministic CBOR (RFC 8949, section 4.2) of the domain and these items, as one array.
fn request(items: &[Item<'_>]) -> Vec<u8> {
    let mut out = vec![0x80 | (items.len() as u8 + 1)];
    let string = |major: u8, bytes: &[u8]| match bytes.len() {
        size @ 0..=23 => [&[major | size as u8], bytes].concat(),
        size => [&[major | 24, size as u8], bytes].concat(), // at most 64 bytes here
    };
    out.extend(string(0x60, DOMAIN.as_bytes()));
    for item in items {
        match item {
            Item::Text(text) => out.extend(string(0x60, text.as_bytes())),
            Item::Bytes(bytes) => out.extend(string(0x40, bytes)),
            Item::Small(number) => out.push(*number),
        }
    }
    out
}

/// What stands in an answer, front to back. Anything but the deterministic encoding is nothing.
struct Values<'a>(&'a [u8]);

impl<'a> Values<'a> {
    fn head(&mut self) -> Option<(u8, usize)> {
        let (&first, rest) = self.0.split_first()?;
        let (size, least) = match first & 31 {
            small @ 0..=23 => {
                self.0 = rest;
                return Some((first & 0xe0, small as usize));
            }
            24 => (1, 24),
            25 => (2, 1 << 8),
            26 => (4, 1 << 16),
            _ => return None,
        };
        let (number, rest) = rest.split_at_checked(size)?;
        let value = number.iter().fold(0, |value, &byte| value << 8 | usize::from(byte));
        self.0 = rest;
        (value >= least).then_some((first & 0xe0, value))
    }

    fn string(&mut self, major: u8) -> Option<&'a [u8]> {
        let (got, size) = self.head()?;
        let (string, rest) = (got == major).then(|| self.0.split_at_checked(size)).flatten()?;
        self.0 = rest;
        Some(string)
    }

    fn array(&mut self) -> Option<usize> {
        self.head().filter(|head| head.0 == 0x80).map(|head| head.1)
    }
    fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.string(0x60)?).ok()
    }
    fn bytes(&mut self) -> Option<Vec<u8>> {
        self.string(0x40).map(<[u8]>::to_vec)
    }
    fn null(&mut self) -> bool {
        let found = self.0.first() == Some(&0xf6);
        if found {
            self.0 = &self.0[1..];
        }
        found
    }
}

/// The values of an "ok", or what the TEE refused with.
fn answered<T>(answer: &[u8], read: impl FnOnce(&mut Values<'_>) -> Option<T>) -> Result<T, Error> {
    decoded(answer, read)
        .unwrap_or_else(|| Err(Error::UnknownAnswer("no answer of a TEE socket's to this request".into())))
}

fn decoded<T>(answer: &[u8], read: impl FnOnce(&mut Values<'_>) -> Option<T>) -> Option<Result<T, Error>> {
    let mut values = Values(answer);
    let members = values.array()?;
    if values.text()? != DOMAIN {
        return None;
    }
    let value = match values.text()? {
        "ok" => Ok(read(&mut values)?),
        "error" if members == 4 => {
            let code = values.text()?.to_owned();
            Err(Error::TeeRefused { code, detail: values.text()?.to_owned() })
        }
        _ => return None,
    };
    let expected = count(answer)?;
    (values.0.is_empty() && members == expected).then_some(value)
}

/// How many items the answer really has after its array's head.
fn count(answer: &[u8]) -> Option<usize> {
    let mut values = Values(answer);
    values.array()?;
    let mut items = 0;
    while !values.0.is_empty() {
        if !values.null() {
            let (major, size) = values.head()?;
            if !matches!(major, 0x40 | 0x60) {
                return None;
            }
            values.0 = values.0.get(size..)?;
        }
        items += 1;
    }
    Some(items)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A TEE that gives this answer to one request; what it was asked comes back.
    fn answering(answer: Vec<u8>) -> (Tee, std::thread::JoinHandle<Vec<u8>>) {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let server = std::thread::spawn(move || {
            let mut length = [0; 4];
            theirs.read_exact(&mut length).unwrap();
            let mut request = vec![0; u32::from_be_bytes(length) as usize];
            theirs.read_exact(&mut request).unwrap();
            let _ = theirs.write_all(&(answer.len() as u32).to_be_bytes());
            let _ = theirs.write_all(&answer);
            request
        });
        (Tee::over(ours, Duration::from_secs(10)).unwrap(), server)
    }

    fn answer(members: u8, rest: &[u8]) -> Vec<u8> {
        let mut out = vec![0x80 | members, 0x6e];
        out.extend(DOMAIN.as_bytes());
        out.extend(rest);
        out
    }

    #[test]
    fn asks_with_the_specified_bytes() {
        let (mut tee, server) = answering(answer(2, b"\x62ok"));
        tee.extend_rtmr(3, &[0; 48]).unwrap();
        let expected = format!("846e636c6f69737465722f7465652f3166657874656e64035830{}", "00".repeat(48));
        assert_eq!(hex::encode(server.join().unwrap()), expected);
    }

    #[test]
    fn reads_quotes_and_refusals() {
        let (mut tee, server) = answering(answer(4, b"\x62ok\x43abc\xf6"));
        assert_eq!(tee.quote(&[1; 64]).unwrap(), Quote { evidence: b"abc".to_vec(), collateral: None });
        server.join().unwrap();
        let mut long = b"\x62ok\x5a\x00\x01\x00\x00".to_vec();
        long.extend([7; 1 << 16]);
        long.extend(b"\x41c");
        let (mut tee, server) = answering(answer(4, &long));
        let quote = tee.quote(&[1; 64]).unwrap();
        assert_eq!((quote.evidence.len(), quote.collateral), (1 << 16, Some(b"c".to_vec())));
        server.join().unwrap();
        let (mut tee, server) = answering(answer(4, b"\x65error\x71permission_denied\x66RTMR 0"));
        let refused = tee.extend_rtmr(0, &[0; 48]).unwrap_err();
        assert_eq!(refused.to_string(), "the TEE refused (permission_denied): RTMR 0");
        server.join().unwrap();
    }

    #[test]
    fn takes_nothing_else_for_an_answer() {
        let broken: &[Vec<u8>] = &[
            vec![],
            answer(3, b"\x62ok\x41"),      // cut off
            answer(3, b"\x62ok\x41aX"),    // trailing
            answer(4, b"\x62ok\x41a"),     // fewer members than said
            answer(2, b"\x62ok\x41a"),     // more
            answer(3, b"\x62no\x41a"),     // another word
            answer(3, b"\x62ok\x61a"),     // text for bytes
            answer(3, b"\x62ok\x58\x01a"), // a length that is not the shortest
            answer(3, b"\x62ok\x5b\x00\x00\x00\x00\x00\x00\x00\x01a"),
            answer(3, b"\x62ok\x5fa"),            // indefinite
            answer(3, b"\x65error\x61a"),         // an error without its detail
            answer(4, b"\x65error\x61a\x61\xff"), // no UTF-8
            [&answer(3, b"\x62ok\x41a")[..1], b"\x6ecloister/tee/2\x62ok\x41a"].concat(),
        ];
        for bytes in broken {
            let (mut tee, server) = answering(bytes.clone());
            let error = tee.report(&[0; 64]).unwrap_err();
            assert!(matches!(error, Error::UnknownAnswer(_)), "{bytes:02x?}: {error}");
            server.join().unwrap();
        }
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let mut tee = Tee::over(ours, Duration::from_secs(10)).unwrap();
        assert!(matches!(tee.extend_rtmr(4, &[0; 48]), Err(Error::Invalid(_))));
    }

    #[test]
    fn is_closed_after_a_failure_on_the_way() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut tee = Tee::over(ours, Duration::from_millis(20)).unwrap();
        assert!(matches!(tee.report(&[0; 64]), Err(Error::Unreachable(_))), "no answer in time");
        let _ = theirs.write_all(&[0, 0, 0, 0]); // the late one
        assert!(matches!(tee.report(&[0; 64]), Err(Error::Unreachable(_))));
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(&(MAX_ANSWER as u32 + 1).to_be_bytes()).unwrap();
        let mut tee = Tee::over(ours, Duration::from_secs(10)).unwrap();
        assert!(matches!(tee.report(&[0; 64]), Err(Error::UnknownAnswer(_))));
        assert!(matches!(Tee::connect("/nowhere/tee.sock"), Err(Error::Unreachable(_))));
    }
}
