//! Cloister's lab from Rust: a typed client of `cloister lab serve`, and the lab's concepts as a small mirror for readers
//! who prefer Rust. LAB ONLY - NOT HARDWARE.
//!
//! - [`Client`] speaks the routes of the lab's service: enclaves that compute, attest and seal, VMs that are launched,
//!   whose pages are encrypted, and that attest. Answers are types, refusals are [`Error::Refused`] with the status and
//!   what the lab says of each field.
//! - [`enclave`], [`vm`] and [`kms`] are the concepts themselves, in memory: an enclave whose MRENCLAVE is the one that
//!   SGX would compute, a VM whose pages have keys of their own, a KMS that derives and seals by identity and
//!   measurement. They are for learning: nothing isolates them from the program that holds them.
//!
//! ```
//! use cloister_lab::enclave::{Loading, PageFlags, PAGE};
//! use cloister_lab::kms::Kms;
//!
//! let kms = Kms::random()?;
//! let loading = Loading::create("doubler", 4 * PAGE as u64)?
//!     .page(PageFlags::RX, &[0x90; PAGE])?
//!     .ecall("double", |_, payload| Ok((payload.as_i64().unwrap_or(0) * 2).into()));
//! let mut enclave = loading.init(&kms);
//! assert_eq!(enclave.enter("double", &21.into())?, 42);
//! println!("MRENCLAVE {}", enclave.mrenclave());
//! # Ok::<(), cloister_lab::Error>(())
//! ```
//!
//! ```no_run
//! use cloister_lab::wire::KeywordSearch;
//! use cloister_lab::{Client, Nonce};
//!
//! let lab = Client::new("http://127.0.0.1:8000")?;
//! let enclave = lab.enclave("search")?;
//! let search = KeywordSearch { documents: vec!["a cat and a cat".into()], keyword: "cat".into() };
//! println!("{:?}", enclave.compute(&search)?.result);
//! let evidence = enclave.attest(Some(Nonce::random()?), "v1")?;
//! println!("{} bytes of quote", evidence.quote.map_or(0, |quote| quote.len()));
//! # Ok::<(), cloister_lab::Error>(())
//! ```
//!
//! [`tee`] is the other side: a program that is itself in a TEE of the lab's asks it for reports and quotes.
//!
//! Nothing here verifies evidence: `cloister verify` does.

pub mod client;
pub mod enclave;
mod error;
pub mod kms;
mod measurement;
pub mod tee;
pub mod vm;
pub mod wire;

pub use client::Client;
pub use error::{Error, Problem};
pub use measurement::{Measurement, Nonce};
