use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// N bytes that are written as 2N lower-case hexadecimal digits.
macro_rules! hex_bytes {
    ($(#[$doc:meta])* $name:ident, $size:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $size]);

        impl $name {
            /// The bytes.
            pub fn as_bytes(&self) -> &[u8; $size] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(out, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let mut bytes = [0; $size];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| format!("{} hexadecimal digits expected", 2 * $size))?;
                Ok(Self(bytes))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
                out.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

hex_bytes!(
    /// 32 bytes that say what was loaded: MRENCLAVE of an enclave, SHA-256 over a VM's metadata and encrypted pages.
    Measurement,
    32
);
hex_bytes!(
    /// 16 bytes that make evidence fresh, when they are the verifier's.
    Nonce,
    16
);

impl Nonce {
    /// A new one, from the operating system.
    pub fn random() -> Result<Self, crate::Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|_| crate::Error::NoRandomness)?;
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_hexadecimal_of_its_length_and_nothing_else() {
        let text = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
        let measurement: Measurement = text.parse().unwrap();
        assert_eq!(measurement.to_string(), text);
        assert_eq!(serde_json::to_string(&measurement).unwrap(), format!("\"{text}\""));
        assert_eq!(serde_json::from_str::<Measurement>(&format!("\"{text}\"")).unwrap(), measurement);
        for broken in ["", &text[2..], &format!("{text}00"), &text.replace('f', "g"), &format!(" {}", &text[1..])] {
            assert!(broken.parse::<Measurement>().is_err(), "{broken}");
            assert!(serde_json::from_str::<Measurement>(&format!("\"{broken}\"")).is_err(), "{broken}");
        }
        assert!(serde_json::from_str::<Nonce>("17").is_err());
    }

    #[test]
    fn nonces_differ() {
        assert_ne!(Nonce::random().unwrap(), Nonce::random().unwrap());
    }
}
