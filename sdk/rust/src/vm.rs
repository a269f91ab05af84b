//! A VM in memory whose pages are encrypted under keys of their own.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::kms::{parts, Kms};
use crate::wire::{check_name, MAX_PAGE};
use crate::{Error, Measurement};

/// A VM: what the host sees of it are sealed pages and a measurement.
pub struct Vm<'a> {
    kms: &'a Kms,
    id: String,
    owner: String,
    pages: BTreeMap<u64, String>,
}

impl<'a> Vm<'a> {
    /// An empty VM. Ids are not repeated under one KMS: pages of two VMs of one id would share keys.
    pub fn launch(kms: &'a Kms, id: &str, owner: &str) -> Result<Self, Error> {
        check_name("id", id)?;
        check_name("owner", owner)?;
        Ok(Self { kms, id: id.to_owned(), owner: owner.to_owned(), pages: BTreeMap::new() })
    }

    /// Writes a page, 1 to 8192 bytes.
    pub fn encrypt(&mut self, page: u64, contents: &[u8]) -> Result<(), Error> {
        if contents.is_empty() || contents.len() > MAX_PAGE {
            return Err(Error::Invalid(format!("page: 1 to {MAX_PAGE} bytes expected")));
        }
        let sealed = self.kms.seal(&self.identity(), &page.to_be_bytes(), contents)?;
        self.pages.insert(page, sealed);
        Ok(())
    }

    /// What the guest reads. A page that the host changed, or moved from elsewhere, is [`Error::Integrity`]; one that it put
    /// back from before is not noticed here, only by the [`Vm::measurement`].
    pub fn decrypt(&self, page: u64) -> Result<Zeroizing<Vec<u8>>, Error> {
        let sealed = self.pages.get(&page).ok_or_else(|| Error::Invalid(format!("no page {page}")))?;
        self.kms.unseal(&self.identity(), &page.to_be_bytes(), sealed)
    }

    /// As the host sees it.
    pub fn sealed_page(&self, page: u64) -> Option<&str> {
        self.pages.get(&page).map(String::as_str)
    }

    /// What a host can do: put other bytes in a page's place.
    pub fn overwrite(&mut self, page: u64, sealed: &str) {
        self.pages.insert(page, sealed.to_owned());
    }

    /// SHA-256 over id, owner, and each page's number and sealed form in ascending order, each behind its length.
    pub fn measurement(&self) -> Measurement {
        let mut hash = Sha256::new();
        hash.update(parts(&[b"cloister/lab-sdk/vm/1", self.id.as_bytes(), self.owner.as_bytes()]));
        for (page, sealed) in &self.pages {
            hash.update(parts(&[&page.to_be_bytes(), sealed.as_bytes()]));
        }
        Measurement(hash.finalize().into())
    }

    fn identity(&self) -> String {
        format!("vm:{}", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guest_reads_what_it_wrote_and_the_host_does_not() {
        let kms = Kms::new([1; 32]);
        let mut vm = Vm::launch(&kms, "a", "bob").unwrap();
        vm.encrypt(3, b"hello hello").unwrap();
        assert_eq!(*vm.decrypt(3).unwrap(), b"hello hello");
        assert!(!vm.sealed_page(3).unwrap().contains("hello"));
        assert!(matches!(vm.decrypt(4), Err(Error::Invalid(_))));
        assert!(vm.sealed_page(4).is_none());
    }

    #[test]
    fn pages_do_not_move() {
        let kms = Kms::new([1; 32]);
        let mut vm = Vm::launch(&kms, "a", "bob").unwrap();
        vm.encrypt(1, b"one").unwrap();
        let page = vm.sealed_page(1).unwrap().to_owned();
        vm.overwrite(2, &page);
        assert!(matches!(vm.decrypt(2), Err(Error::Integrity)));
        let mut other = Vm::launch(&kms, "b", "bob").unwrap();
        other.overwrite(1, &page);
        assert!(matches!(other.decrypt(1), Err(Error::Integrity)));
    }

    #[test]
    fn a_page_of_before_opens_and_shows_in_the_measurement() {
        let kms = Kms::new([1; 32]);
        let mut vm = Vm::launch(&kms, "a", "bob").unwrap();
        vm.encrypt(1, b"old").unwrap();
        let old = vm.sealed_page(1).unwrap().to_owned();
        vm.encrypt(1, b"new").unwrap();
        let measured = vm.measurement();
        vm.overwrite(1, &old);
        assert_eq!(*vm.decrypt(1).unwrap(), b"old");
        assert_ne!(vm.measurement(), measured);
    }

    #[test]
    fn the_measurement_is_over_everything() {
        let kms = Kms::new([1; 32]);
        let empty = Vm::launch(&kms, "a", "bc").unwrap().measurement();
        assert_eq!(empty, Vm::launch(&kms, "a", "bc").unwrap().measurement());
        assert_ne!(empty, Vm::launch(&kms, "ab", "c").unwrap().measurement());
        let mut vm = Vm::launch(&kms, "a", "bc").unwrap();
        vm.encrypt(0, b"x").unwrap();
        assert_ne!(vm.measurement(), empty);
    }

    #[test]
    fn refuses_names_and_pages_out_of_bounds() {
        let kms = Kms::new([1; 32]);
        assert!(Vm::launch(&kms, "", "bob").is_err());
        assert!(Vm::launch(&kms, "a", &"o".repeat(129)).is_err());
        let mut vm = Vm::launch(&kms, "a", "bob").unwrap();
        assert!(vm.encrypt(0, b"").is_err());
        assert!(vm.encrypt(0, &[0; MAX_PAGE + 1]).is_err());
        assert!(vm.encrypt(0, &[0; MAX_PAGE]).is_ok());
    }
}
