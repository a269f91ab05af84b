#include "cloister/evidence/pck.hpp"

#include <array>
#include <string>
#include <vector>

#include "cloister/codec/der.hpp"

namespace cloister::evidence {
namespace {

namespace der = codec::der;

Error malformed(std::string detail) { return Error{Errc::certificate_malformed, "SGX extension: " + std::move(detail)}; }

Result<void> ended(der::Reader& in, std::string_view what) {
  const auto done = in.finish();
  if (!done) return malformed(std::string{what} + ": " + done.error().detail());
  return {};
}

std::string arc(std::string_view parent, unsigned number) { return std::string{parent} + '.' + std::to_string(number); }
const std::string kTcbOid = arc(kPckExtensionOid, 2);
const std::string kConfigurationOid = arc(kPckExtensionOid, 7);

/// The members of a SEQUENCE OF SEQUENCE { id, value } below one arc, by the last number of their ids.
class Members {
 public:
  static Result<Members> read(ByteView contents, std::string_view parent, unsigned last) {
    Members out{std::string{parent}, last};
    der::Reader in{contents};
    while (!in.failed() && !in.at_end()) {
      auto pair = in.enter(der::tag::kSequence);
      const auto oid = pair.oid();
      const auto value = pair.any();
      in.absorb(pair);
      if (in.failed()) break;
      CLOISTER_CHECK(out.add(oid, value));
    }
    CLOISTER_CHECK(ended(in, parent));
    return out;
  }

  /// Null when it is not there.
  [[nodiscard]] const der::Element* find(unsigned number) const {
    const auto& found = values_[number - 1];
    return found ? &*found : nullptr;
  }

  [[nodiscard]] Result<der::Element> required(unsigned number, std::uint8_t tag) const {
    const auto* found = find(number);
    if (found == nullptr) return malformed(arc(parent_, number) + " is missing");
    return typed(number, *found, tag);
  }

  [[nodiscard]] Result<der::Element> typed(unsigned number, const der::Element& found, std::uint8_t tag) const {
    if (found.tag != tag) return malformed(arc(parent_, number) + " is of another type");
    return found;
  }

  template <std::size_t N>
  [[nodiscard]] Result<ByteArray<N>> octets(unsigned number) const {
    CLOISTER_TRY(found, required(number, der::tag::kOctetString));
    if (found.contents.size() != N) {
      return malformed(arc(parent_, number) + ": " + std::to_string(N) + " bytes expected, got " +
                       std::to_string(found.contents.size()));
    }
    return to_array<N>(found.contents);
  }

  [[nodiscard]] Result<std::uint64_t> integer(unsigned number, std::uint64_t max) const {
    CLOISTER_TRY(found, required(number, der::tag::kInteger));
    der::Reader in{found.whole};
    const auto value = in.uint();
    CLOISTER_CHECK(ended(in, arc(parent_, number)));
    if (value > max) return malformed(arc(parent_, number) + ": at most " + std::to_string(max) + " expected");
    return value;
  }

  [[nodiscard]] Result<std::optional<bool>> optional_boolean(unsigned number) const {
    const auto* found = find(number);
    if (found == nullptr) return std::optional<bool>{};
    CLOISTER_TRY(element, typed(number, *found, der::tag::kBoolean));
    der::Reader in{element.whole};
    const bool value = in.boolean();
    CLOISTER_CHECK(ended(in, arc(parent_, number)));
    return std::optional<bool>{value};
  }

 private:
  Members(std::string parent, unsigned last) : parent_{std::move(parent)}, values_(last) {}

  Result<void> add(ByteView oid, const der::Element& value) {
    const auto prefix = der::oid(parent_);
    const bool below = oid.size() == prefix.size() + 1 && same_bytes(oid.first(prefix.size()), prefix);
    const unsigned number = below ? oid.back() : 0;
    if (number < 1 || number > values_.size()) return malformed("unknown member " + der::oid_text(oid));
    if (values_[number - 1]) return malformed(arc(parent_, number) + " is there twice");
    values_[number - 1] = value;
    return {};
  }

  std::string parent_;
  std::vector<std::optional<der::Element>> values_;
};

Result<void> read_tcb(const Members& outer, PckExtension& out) {
  CLOISTER_TRY(sequence, outer.required(2, der::tag::kSequence));
  CLOISTER_TRY(tcb, Members::read(sequence.contents, kTcbOid, 18));
  for (unsigned i = 0; i < out.components.size(); ++i) {
    CLOISTER_TRY(svn, tcb.integer(i + 1, 0xFF));
    out.components[i] = static_cast<std::uint8_t>(svn);
  }
  CLOISTER_TRY(pce_svn, tcb.integer(17, 0xFFFF));
  out.pce_svn = static_cast<std::uint16_t>(pce_svn);
  CLOISTER_TRY(cpu_svn, tcb.octets<16>(18));
  out.cpu_svn = cpu_svn;
  return {};
}

Result<SgxType> read_sgx_type(const Members& outer) {
  CLOISTER_TRY(element, outer.required(5, der::tag::kEnumerated));
  if (element.contents.size() != 1 || element.contents[0] > 2) return malformed("SGX type 0 to 2 expected");
  return SgxType{element.contents[0]};
}

Result<PckConfiguration> read_configuration(const Members& outer, const der::Element& found) {
  CLOISTER_TRY(sequence, outer.typed(7, found, der::tag::kSequence));
  CLOISTER_TRY(flags, Members::read(sequence.contents, kConfigurationOid, 3));
  PckConfiguration out;
  CLOISTER_TRY(dynamic_platform, flags.optional_boolean(1));
  CLOISTER_TRY(cached_keys, flags.optional_boolean(2));
  CLOISTER_TRY(smt_enabled, flags.optional_boolean(3));
  out.dynamic_platform = dynamic_platform;
  out.cached_keys = cached_keys;
  out.smt_enabled = smt_enabled;
  return out;
}

Bytes pair(std::string_view parent, unsigned number, const Bytes& value) {
  return der::sequence({der::object_id(arc(parent, number)), value});
}

Bytes encode_tcb(const PckExtension& extension) {
  std::vector<Bytes> members;
  for (unsigned i = 0; i < extension.components.size(); ++i) {
    members.push_back(pair(kTcbOid, i + 1, der::integer(extension.components[i])));
  }
  members.push_back(pair(kTcbOid, 17, der::integer(extension.pce_svn)));
  members.push_back(pair(kTcbOid, 18, der::octet_string(extension.cpu_svn)));
  return der::sequence(members);
}

Bytes encode_configuration(const PckConfiguration& configuration) {
  std::vector<Bytes> members;
  const std::array flags{configuration.dynamic_platform, configuration.cached_keys, configuration.smt_enabled};
  for (unsigned i = 0; i < flags.size(); ++i) {
    if (flags[i]) members.push_back(pair(kConfigurationOid, i + 1, der::boolean(*flags[i])));
  }
  return der::sequence(members);
}

}  // namespace

Result<PckExtension> parse_pck_extension(ByteView value) {
  der::Reader in{value};
  const auto sequence = in.expect(der::tag::kSequence);
  CLOISTER_CHECK(ended(in, kPckExtensionOid));
  CLOISTER_TRY(outer, Members::read(sequence.contents, kPckExtensionOid, 7));
  PckExtension out;
  CLOISTER_TRY(ppid, outer.octets<16>(1));
  out.ppid = ppid;
  CLOISTER_CHECK(read_tcb(outer, out));
  CLOISTER_TRY(pce_id, outer.octets<2>(3));
  out.pce_id = pce_id;
  CLOISTER_TRY(fmspc, outer.octets<6>(4));
  out.fmspc = fmspc;
  CLOISTER_TRY(sgx_type, read_sgx_type(outer));
  out.sgx_type = sgx_type;
  if (outer.find(6) != nullptr) {
    CLOISTER_TRY(instance, outer.octets<16>(6));
    out.platform_instance_id = instance;
  }
  if (const auto* configuration = outer.find(7)) {
    CLOISTER_TRY(flags, read_configuration(outer, *configuration));
    out.configuration = flags;
  }
  return out;
}

Result<PckExtension> pck_extension(const crypto::x509::Certificate& certificate) {
  const auto* found = certificate.find(der::oid(kPckExtensionOid));
  if (found == nullptr) return malformed("the certificate has none");
  return parse_pck_extension(found->value);
}

Bytes encode_pck_extension(const PckExtension& extension) {
  std::vector<Bytes> members{
      pair(kPckExtensionOid, 1, der::octet_string(extension.ppid)),
      pair(kPckExtensionOid, 2, encode_tcb(extension)),
      pair(kPckExtensionOid, 3, der::octet_string(extension.pce_id)),
      pair(kPckExtensionOid, 4, der::octet_string(extension.fmspc)),
      pair(kPckExtensionOid, 5, der::element(der::tag::kEnumerated, Bytes{static_cast<std::uint8_t>(extension.sgx_type)})),
  };
  if (extension.platform_instance_id) {
    members.push_back(pair(kPckExtensionOid, 6, der::octet_string(*extension.platform_instance_id)));
  }
  if (extension.configuration) members.push_back(pair(kPckExtensionOid, 7, encode_configuration(*extension.configuration)));
  return der::sequence(members);
}

}  // namespace cloister::evidence
