#include "cloister/collateral_service/routes.hpp"

#include <algorithm>
#include <charconv>
#include <set>
#include <vector>

#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"

namespace cloister::collateral_service {
namespace {

using namespace collateral;
using evidence::TeeType;
using Segments = std::vector<std::string_view>;

Error no_such_path() { return Error{Errc::not_found, "the vendors' services have no such path"}; }

Segments split(std::string_view path) {
  if (path.starts_with('/')) path.remove_prefix(1);
  Segments out;
  while (true) {
    const auto slash = path.find('/');
    out.push_back(path.substr(0, slash));
    if (slash == std::string_view::npos) return out;
    path.remove_prefix(slash + 1);
  }
}

/// A query's parameters, each to be asked for: what nobody asked for is refused.
class Parameters {
 public:
  explicit Parameters(const http::Query& query) : query_{query} {}

  std::optional<std::string_view> optional(std::string_view name) {
    asked_.insert(name);
    return query_.find(name);
  }
  std::string_view required(std::string_view name) {
    const auto value = optional(name);
    if (!value) fail("the parameter " + std::string{name} + " is missing");
    return value.value_or("");
  }
  void fail(std::string why) {
    if (why_.empty()) why_ = std::move(why);
  }
  [[nodiscard]] Result<void> finish() {
    for (const auto& [name, value] : query_.all()) {
      if (!asked_.contains(name)) fail("unknown parameter " + name.substr(0, 64));
    }
    if (why_.empty()) return {};
    return Error{Errc::invalid_argument, why_};
  }

 private:
  const http::Query& query_;
  std::set<std::string_view> asked_;
  std::string why_;
};

template <class Number>
Number number_of(Parameters& parameters, std::string_view name, std::string_view text) {
  Number out = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (failure != std::errc{} || end != text.data() + text.size()) parameters.fail(std::string{name} + ": a number expected");
  return out;
}

Evaluation evaluation_in(Parameters& parameters) {
  const auto update = parameters.optional("update");
  const auto number = parameters.optional("tcbEvaluationDataNumber");
  if (update && number) parameters.fail("update and tcbEvaluationDataNumber exclude each other");
  if (number) return {.early = false, .number = number_of<std::uint32_t>(parameters, "tcbEvaluationDataNumber", *number)};
  if (update && *update != "early" && *update != "standard") parameters.fail("update: early or standard expected");
  return {.early = update == "early", .number = std::nullopt};
}

ByteArray<6> fmspc_in(Parameters& parameters) {
  const auto fmspc = codec::array_from_hex<6>(parameters.required("fmspc"));
  if (!fmspc) parameters.fail("fmspc: 12 hex digits expected");
  return fmspc ? *fmspc : ByteArray<6>{};
}

Result<Asked> intel(const Segments& path, Parameters& parameters) {
  const bool tdx = path[0] == "tdx";
  const auto version = path[2] == "v3" ? ApiVersion::v3 : ApiVersion::v4;
  if (path[1] != "certification" || (path[2] != "v3" && path[2] != "v4") || (tdx && version == ApiVersion::v3)) return no_such_path();
  const auto what = path[3];
  const bool identity = path.size() == 5 && path[4] == "identity";
  if (what == "tcb" && path.size() == 4) {
    const auto fmspc = fmspc_in(parameters);
    return Asked{TcbInfoKey{tdx ? TeeType::tdx : TeeType::sgx, fmspc, evaluation_in(parameters)}, version};
  }
  if (what == "qe" && identity) return Asked{IdentityKey{tdx ? Enclave::td_qe : Enclave::qe, evaluation_in(parameters)}, version};
  if (what == "qve" && identity && !tdx) return Asked{IdentityKey{Enclave::qve, evaluation_in(parameters)}, version};
  if (what == "rootcacrl" && path.size() == 4 && !tdx) return Asked{RootCrlKey{}, version};
  if (what != "pckcrl" || path.size() != 4 || tdx) return no_such_path();
  const auto ca = parameters.required("ca");
  if (ca != "platform" && ca != "processor") parameters.fail("ca: platform or processor expected");
  const auto encoding = parameters.optional("encoding").value_or("pem");
  if (encoding != "pem" && encoding != "der") parameters.fail("encoding: pem or der expected");
  return Asked{PckCrlKey{ca == "processor" ? CaType::processor : CaType::platform}, version, encoding == "pem"};
}

Result<Asked> amd(const Segments& path, Parameters& parameters) {
  const auto endorsement = path[0] == "vlek" ? EndorsementKey::vlek : EndorsementKey::vcek;
  const auto product = product_from_string(path[2]);
  if (path[1] != "v1" || !product || path.size() != 4) return no_such_path();
  if (path[3] == "cert_chain") return Asked{AmdChainKey{*product, endorsement}};
  if (path[3] == "crl") return Asked{AmdCrlKey{*product, endorsement}};
  auto hwid = codec::from_hex(path[3]);
  if (!hwid || hwid->size() != hwid_size(*product) || endorsement == EndorsementKey::vlek) return no_such_path();
  // Levels that are not named are zero, as AMD's service has it.
  const auto level = [&parameters](std::string_view name) {
    return number_of<std::uint8_t>(parameters, name, parameters.optional(name).value_or("0"));
  };
  VcekKey key{.product = *product, .hwid = std::move(hwid).value(), .tcb = {}};
  if (*product == Product::turin) key.tcb.fmc = level("fmcSPL");
  key.tcb.boot_loader = level("blSPL");
  key.tcb.tee = level("teeSPL");
  key.tcb.snp = level("snpSPL");
  key.tcb.microcode = level("ucodeSPL");
  return Asked{std::move(key)};
}

/// The standard evaluation, where the one that was asked for by number or as the early one is the same.
std::optional<Document> find_evaluation(const DocumentSource& documents, Key key) {
  if (auto found = documents.find(key)) return found;
  Evaluation* evaluation = nullptr;
  if (auto* info = std::get_if<TcbInfoKey>(&key)) evaluation = &info->evaluation;
  if (auto* identity = std::get_if<IdentityKey>(&key)) evaluation = &identity->evaluation;
  if (evaluation == nullptr || *evaluation == Evaluation{}) return std::nullopt;
  const auto number = std::exchange(*evaluation, {}).number;
  auto found = documents.find(key);
  if (!found || (number && found->evaluation_number != number)) return std::nullopt;
  return found;
}

bool names_tag(std::string_view field, std::string_view etag) {
  return field == "*" || field.find(etag) != std::string_view::npos;
}

/// RFC 9110 section 13.2.2: the tag decides where the request has one.
bool has_it(const http::Request& request, std::string_view etag, UnixTime modified) {
  if (const auto tags = request.headers.find("If-None-Match")) return names_tag(*tags, etag);
  const auto since = request.headers.find("If-Modified-Since");
  const auto at = since ? parse_http_date(*since) : std::nullopt;
  return at && std::chrono::floor<std::chrono::seconds>(modified) <= *at;
}

/// The representation: Intel's caching service gives the root's list as hex.
Bytes body_of(const Asked& asked, const Document& document) {
  if (asked.pem) return to_bytes(codec::to_pem("X509 CRL", document.body));
  if (std::holds_alternative<RootCrlKey>(asked.key)) return to_bytes(codec::to_hex(document.body));
  return document.body;
}

}  // namespace

Result<Asked> asked_for(std::string_view path, const http::Query& query) {
  const auto segments = split(path);
  if (segments.size() < 4 || segments.size() > 5) return no_such_path();
  Parameters parameters{query};
  const bool of_intel = segments[0] == "sgx" || segments[0] == "tdx";
  const bool of_amd = segments[0] == "vcek" || segments[0] == "vlek";
  if (!of_intel && !of_amd) return no_such_path();
  CLOISTER_TRY(asked, of_intel ? intel(segments, parameters) : amd(segments, parameters));
  CLOISTER_CHECK(parameters.finish());
  return asked;
}

http::Response respond(const DocumentSource& documents, const http::Request& request) {
  const auto asked = asked_for(request.path, request.query);
  if (!asked) return http::problem(asked.error(), request.request_id);
  const auto found = find_evaluation(documents, asked->key);
  if (!found) return http::problem(Error{Errc::not_found, "no document " + to_string(asked->key)}, request.request_id);
  auto body = body_of(*asked, *found);
  const auto etag = '"' + codec::to_hex(ByteView{crypto::sha256(body)}.first(16)) + '"';
  http::Response out;
  if (has_it(request, etag, found->issued)) {
    out.status = 304;
  } else {
    out = http::bytes_response(std::string{asked->pem ? "application/x-pem-file" : content_type(asked->key)}, std::move(body));
    if (const auto name = issuer_chain_header(asked->key, asked->version); !name.empty()) {
      out.headers.set(std::string{name}, escape_header(found->issuer_chain));
    }
  }
  out.headers.set("ETag", etag);
  out.headers.set("Last-Modified", to_http_date(found->issued));
  return out;
}

http::Router routes(const DocumentSource& documents) {
  http::Router out;
  out.add(http::Method::get, "/{path...}", http::kPublic, [&documents](http::Request request) -> runtime::Task<http::Response> {
    co_return respond(documents, request);
  });
  return out;
}

}  // namespace cloister::collateral_service
