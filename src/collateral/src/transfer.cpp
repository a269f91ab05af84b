#include "cloister/collateral/transfer.hpp"

#include <algorithm>

#include "certificates.hpp"
#include "cloister/codec/json.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/collateral/manifest.hpp"

namespace cloister::collateral {
namespace {

namespace json = codec::json;
namespace x509 = crypto::x509;

constexpr std::size_t kMaxChain = 4;
constexpr std::size_t kMaxPool = 4096;

/// The certificates of a bundle, each once.
class Pool {
 public:
  void add(const Certificates& certificates) {
    for (const auto& one : certificates) {
      const auto same = [&one](const auto& other) { return other->der == one->der; };
      if (all_.size() < kMaxPool && std::ranges::none_of(all_, same)) all_.push_back(one);
    }
  }
  void add_pem(std::string_view pem) {
    if (const auto chain = x509::parse_chain(pem)) add(*chain);
  }
  [[nodiscard]] const Certificates& all() const noexcept { return all_; }

  [[nodiscard]] x509::CertificatePtr named(ByteView subject) const {
    const auto found = std::ranges::find_if(all_, [subject](const auto& one) { return same_bytes(one->subject, subject); });
    return found == all_.end() ? nullptr : *found;
  }
  /// The certificate and those above it, as far as they are here.
  [[nodiscard]] std::string chain_of(x509::CertificatePtr certificate) const {
    Certificates chain{std::move(certificate)};
    while (chain.size() < kMaxChain && chain.back()->issuer != chain.back()->subject) {
      auto issuer = named(chain.back()->issuer);
      if (!issuer) break;
      chain.push_back(std::move(issuer));
    }
    return to_pem(chain);
  }
  /// The chain of whoever signed the document; empty when nobody here did.
  [[nodiscard]] std::string chain_of_signer(std::string_view body, const ByteArray<64>& signature) const {
    const auto signer = std::ranges::find_if(all_, [&](const auto& one) {
      const auto* key = std::get_if<crypto::EcPublicKey>(&one->key);
      return key != nullptr && key->curve() == crypto::Curve::p256 && key->verify(as_bytes(body), signature).ok();
    });
    return signer == all_.end() ? std::string{} : chain_of(*signer);
  }
  /// The chain of a list's issuer; of two with one name, the one whose key signed it.
  [[nodiscard]] std::string chain_of_issuer(const x509::Crl& crl) const {
    for (const auto& one : all_) {
      if (one->subject == crl.issuer && x509::verify_signature(crl, *one)) return chain_of(one);
    }
    return {};
  }

 private:
  Certificates all_;
};

/// A file that holds one of the documents that have an identity enclave nobody verifies with.
std::optional<IdentityKey> qve_key(ByteView content) {
  const auto value = json::parse(as_text(content), {.bytes = evidence::kMaxTcbDocumentSize});
  const auto* identity = value ? value->find("enclaveIdentity") : nullptr;
  const auto* id = identity == nullptr ? nullptr : identity->find("id");
  if (id == nullptr || id->as_string() == nullptr || *id->as_string() != "QVE") return std::nullopt;
  return IdentityKey{.enclave = Enclave::qve, .evaluation = {}};
}

std::string chain_of_envelope(const Pool& pool, ByteView content) {
  const auto value = json::parse(as_text(content), {.bytes = evidence::kMaxTcbDocumentSize});
  const auto* identity = value ? value->find("enclaveIdentity") : nullptr;
  const auto* text = value ? value->find("signature") : nullptr;
  if (identity == nullptr || text == nullptr || text->as_string() == nullptr) return {};
  const auto signature = codec::array_from_hex<64>(*text->as_string());
  return signature ? pool.chain_of_signer(identity->raw(as_text(content)), *signature) : std::string{};
}

bool is_of_root(const x509::Crl& crl) { return crl.issuer_common_name.find("Root CA") != std::string::npos; }

class Gathering {
 public:
  explicit Gathering(const Pool& pool) : pool_{pool} {}

  void add(const std::string& name, const Key& key, ByteView body, std::string_view chain) {
    auto document = read_document(key, body, chain);
    if (!document) {
      out_.left_out.push_back(name + ": " + document.error().detail());
      return;
    }
    const auto same = [&key](const Document& other) { return other.key == key; };
    const auto there = std::ranges::find_if(out_.documents, same);
    if (there == out_.documents.end()) out_.documents.push_back(std::move(document).value());
    else if (there->issued < document->issued) *there = std::move(document).value();
  }
  void leave_out(const std::string& name, std::string_view why) { out_.left_out.push_back(name + ": " + std::string{why}); }

  void add(const std::string& name, const evidence::SignedTcbInfo& info, Evaluation evaluation) {
    add(name, TcbInfoKey{info.info.tee, info.info.fmspc, evaluation},
        as_bytes(evidence::write_tcb_info(info.body, info.signature)), pool_.chain_of_signer(info.body, info.signature));
  }
  void add(const std::string& name, const evidence::SignedQeIdentity& identity, Evaluation evaluation) {
    const auto enclave = identity.identity.id == evidence::EnclaveId::td_qe ? Enclave::td_qe : Enclave::qe;
    add(name, IdentityKey{enclave, evaluation}, as_bytes(evidence::write_qe_identity(identity.body, identity.signature)),
        pool_.chain_of_signer(identity.body, identity.signature));
  }
  void add(const std::string& name, const x509::Crl& crl) {
    if (const auto product = product_of_ark(crl.issuer_common_name)) {
      add(name, AmdCrlKey{*product, EndorsementKey::vcek}, crl.der, {});
      add(name, AmdCrlKey{*product, EndorsementKey::vlek}, crl.der, {});  // one root, one list
    } else if (is_of_root(crl)) {
      add(name, RootCrlKey{}, crl.der, {});
    } else {
      add(name, PckCrlKey{ca_type(crl.issuer_common_name)}, crl.der, pool_.chain_of_issuer(crl));
    }
  }
  void add(const std::string& name, const x509::CertificatePtr& certificate) {
    if (is_vcek(*certificate)) {
      const auto key = vcek_key_of(*certificate);
      if (key) add(name, *key, certificate->der, {});
      else leave_out(name, key.error().detail());
    } else if (const auto key = chain_key_of(certificate->subject_common_name)) {
      if (const auto root = pool_.named(certificate->issuer)) add(name, *key, as_bytes(to_pem({certificate, root})), {});
      else leave_out(name, "its root is not in the bundle");
    }
  }
  [[nodiscard]] Documents take() && { return std::move(out_); }

 private:
  const Pool& pool_;
  Documents out_;
};

/// The evaluation that a manifest's key names, where it is a key of ours.
Evaluation evaluation_of(const std::string& key_text) {
  const auto key = parse_key(key_text);
  if (!key) return {};
  if (const auto* info = std::get_if<TcbInfoKey>(&*key)) return info->evaluation;
  if (const auto* identity = std::get_if<IdentityKey>(&*key)) return identity->evaluation;
  return {};
}

std::string_view extension_of(const Key& key) {
  if (content_type(key) == "application/json") return ".json";
  if (std::holds_alternative<VcekKey>(key)) return ".der";
  return std::holds_alternative<AmdChainKey>(key) ? ".pem" : ".crl";
}

}  // namespace

Result<Documents> documents_of(const std::vector<BundleFile>& files) {
  std::vector<Recognised> parts;
  Pool pool;
  for (const auto& file : files) {
    auto part = recognise(file.content);
    if (!part) return Error{Errc::collateral_malformed, file.name + ": " + part.error().text()};
    if (const auto* certificates = std::get_if<Certificates>(&*part)) pool.add(*certificates);
    if (const auto* whole = std::get_if<evidence::QuoteCollateral>(&*part)) {
      for (const auto* chain : {&whole->tcb_info_issuer_chain, &whole->qe_identity_issuer_chain, &whole->pck_crl_issuer_chain}) {
        pool.add_pem(*chain);
      }
    }
    parts.push_back(std::move(part).value());
  }
  Gathering out{pool};
  for (std::size_t i = 0; i < files.size(); ++i) {
    const auto& name = files[i].name;
    const auto evaluation = evaluation_of(files[i].key);
    if (const auto* whole = std::get_if<evidence::QuoteCollateral>(&parts[i])) {
      const auto documents = evidence::parse_documents(*whole);
      if (!documents) return Error{Errc::collateral_malformed, name + ": " + documents.error().text()};
      out.add(name, documents->tcb_info, evaluation);
      out.add(name, documents->qe_identity, evaluation);
      out.add(name, documents->root_ca_crl);
      out.add(name, documents->pck_crl);
    } else if (const auto* info = std::get_if<evidence::SignedTcbInfo>(&parts[i])) {
      out.add(name, *info, evaluation);
    } else if (const auto* identity = std::get_if<evidence::SignedQeIdentity>(&parts[i])) {
      out.add(name, *identity, evaluation);
    } else if (const auto* crl = std::get_if<x509::Crl>(&parts[i])) {
      out.add(name, *crl);
    } else if (const auto* certificates = std::get_if<Certificates>(&parts[i])) {
      for (const auto& certificate : *certificates) out.add(name, certificate);
    } else if (auto qve = qve_key(files[i].content)) {
      qve->evaluation = evaluation;
      out.add(name, Key{*qve}, files[i].content, chain_of_envelope(pool, files[i].content));
    } else {
      out.leave_out(name, "no document of a vendor's service");
    }
  }
  return std::move(out).take();
}

std::vector<BundleFile> write_bundle(const std::vector<Document>& documents) {
  std::vector<BundleFile> out;
  std::vector<ManifestEntry> listed;
  const auto add = [&](std::string kind, std::string key, std::string name, Bytes content) {
    listed.push_back({name, std::move(kind), key});
    out.push_back({std::move(name), std::move(content), std::move(key)});
  };
  for (const auto& document : documents) {
    const auto key = to_string(document.key);
    auto stem = key;
    std::ranges::replace(stem, '/', '.');
    add(std::string{kind_of(document.key)}, key, stem + std::string{extension_of(document.key)}, document.body);
    if (!document.issuer_chain.empty()) add("certificates", key, stem + ".chain.pem", to_bytes(document.issuer_chain));
  }
  out.push_back({"manifest.json", to_bytes(write_manifest(listed)), {}});
  return out;
}

}  // namespace cloister::collateral
