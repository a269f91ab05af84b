#include "cloister/lab_service/enclaves.hpp"

#include <algorithm>
#include <array>
#include <iterator>
#include <span>

#include "cloister/codec/cbor.hpp"
#include "cloister/codec/text.hpp"
#include "enclave_sealing.hpp"
#include "numbers.hpp"

namespace cloister::lab_service {
namespace {

namespace json = codec::json;
using lab_sgx::Code;
using lab_sgx::EpcIndex;
using measure::SecInfo;

constexpr std::uint64_t kFirstBase = 0x10000000;
constexpr std::uint64_t kSize = 0x4000;
constexpr std::uint64_t kCodeOffset = 0x1000;
constexpr std::uint64_t kDataOffset = 0x2000;
constexpr std::uint64_t kSsaOffset = 0x3000;
constexpr EpcIndex kFirstPage = lab_sgx::QuotingEnclave::kPages;
constexpr unsigned kCallProcessor = 0;
constexpr unsigned kStepProcessor = 1;
constexpr std::uint16_t kIsvProdId = 1;
constexpr std::uint16_t kIsvSvn = 1;
constexpr ByteArray<16> kAttributes{evidence::sgx_flag::kMode64, 0, 0, 0, 0, 0, 0, 0, 3};

/// The one page of code. The lab's enclaves are modelled and their workloads run natively: what is measured says who
/// they are, so that enclaves of other names have other measurements.
lab_sgx::PageBytes code_page(std::string_view name) {
  codec::cbor::Writer text;
  text.array(4).text("cloister/lab/1/enclave").text("init").text(name).text(Enclaves::kSigner);
  lab_sgx::PageBytes page{};
  std::ranges::copy(text.take(), page.begin());
  return page;
}

/// What an enclave of this name is loaded from.
struct Image {
  explicit Image(std::string_view name) : code{code_page(name)} {}
  lab_sgx::PageBytes tcs = lab_sgx::tcs_page({.ossa = kSsaOffset});
  lab_sgx::PageBytes code;
  lab_sgx::PageBytes zero{};

  static constexpr std::size_t kPages = 4;
  /// In the order of their addresses; of this object's bytes.
  [[nodiscard]] std::array<measure::EnclavePage, kPages> pages() const {
    const auto rw = SecInfo::reg(true, true, false);
    return {{{.offset = 0, .secinfo = SecInfo::tcs(), .contents = tcs},
             {.offset = kCodeOffset, .secinfo = SecInfo::reg(true, false, true), .contents = code},
             {.offset = kDataOffset, .secinfo = rw, .contents = zero},
             {.offset = kSsaOffset, .secinfo = rw, .contents = zero}}};
  }
};

Result<void> did(std::string_view leaf, Code code) {
  if (code == Code::success) return {};
  return Error{Errc::conflict, std::string{leaf} + ": " + std::string{to_string(code)}};
}

std::int64_t size_of(const json::Value& payload) { return static_cast<std::int64_t>(json::write(payload).size()); }

}  // namespace

std::string_view to_string(EnclaveState state) noexcept {
  switch (state) {
    case EnclaveState::loading:
      return "loading";
    case EnclaveState::initialized:
      return "initialized";
    case EnclaveState::stopped:
      return "stopped";
  }
  return "stopped";
}

Digest64 enclave_report_data(const Nonce16& nonce, std::string_view policy_version) {
  codec::cbor::Writer out;
  out.array(3).text("cloister/lab/1/enclave attest").bytes(nonce).text(policy_version);
  Digest64 data{};
  std::ranges::copy(crypto::sha256(out.take()), data.begin());
  return data;
}

/// What a workload sees while its enclave is entered.
class Enclaves::Inside final : public lab_workload::Enclave {
 public:
  Inside(Enclaves& owner, lab_service::Enclave& enclave, unsigned processor)
      : owner_{owner}, enclave_{enclave}, processor_{processor} {}

  Result<std::string> seal(std::string_view identity, ByteView plaintext) override {
    auto version = enclave_.versions.find(identity);
    if (version == enclave_.versions.end()) {
      if (enclave_.versions.size() >= kMaxIdentities)
        return Error{Errc::conflict, "identity: an enclave seals for at most 1024"};
      version = enclave_.versions.emplace(std::string{identity}, 0).first;
    }
    CLOISTER_TRY(token, seal_for(owner_.machine_.cpu, processor_, identity, version->second + 1, plaintext,
                                 owner_.machine_.random));
    ++version->second;
    owner_.events_.add("sgx", enclave_.name, "SEAL", {{"identity", identity}, {"version", version->second}});
    return token;
  }

  Result<crypto::SecretBytes> unseal(std::string_view identity, std::string_view token) override {
    CLOISTER_TRY(opened, open(identity, token, false));
    return std::move(opened.plaintext);
  }

  Result<Unsealed> open(std::string_view identity, std::string_view token, bool allow_stale) {
    auto opened = open_for(owner_.machine_.cpu, processor_, identity, token);
    if (!opened) {
      owner_.events_.add("sgx", enclave_.name, "UNSEAL_REFUSED",
                         {{"identity", identity}, {"why", to_string(opened.error().code())}});
      return opened.error();
    }
    const auto found = enclave_.versions.find(identity);
    Unsealed out{std::move(opened->plaintext), opened->version, found == enclave_.versions.end() ? 0 : found->second};
    if (out.version != out.current && !allow_stale) {
      const auto relation = out.version < out.current ? " < " : " > ";
      const auto why =
          "token: version " + std::to_string(out.version) + relation + "counter " + std::to_string(out.current);
      owner_.events_.add("sgx", enclave_.name, "UNSEAL_REFUSED", {{"identity", identity}, {"why", why}});
      return Error{Errc::conflict, why};
    }
    owner_.events_.add("sgx", enclave_.name, "UNSEAL", {{"identity", identity}, {"version", out.version}});
    return out;
  }

  Result<Digest32> mac(std::string_view purpose, ByteView message) override {
    CLOISTER_TRY(key, enclave_key(owner_.machine_.cpu, processor_, purpose));
    return crypto::hmac_sha256(key.reveal(), message);
  }

  Result<json::Value> ocall(std::string_view name, json::Value payload) override {
    if (size_of(payload) > Enclaves::kMaxOcall) return Error{Errc::invalid_argument, "payload: at most 4096 bytes of JSON expected"};
    owner_.leave(enclave_, processor_, name);
    auto answer = owner_.host_answer(enclave_, name, std::move(payload));
    CLOISTER_CHECK(owner_.enter(enclave_, processor_, "return of an OCALL"));
    return answer;
  }

 private:
  Enclaves& owner_;
  lab_service::Enclave& enclave_;
  unsigned processor_;
};

std::vector<const Enclave*> Enclaves::all() const {
  std::vector<const Enclave*> out;
  for (const auto& [name, enclave] : enclaves_) out.push_back(enclave.get());
  return out;
}

Result<Enclave*> Enclaves::find(std::string_view name) {
  const auto found = enclaves_.find(name);
  if (found == enclaves_.end()) return Error{Errc::not_found, "Enclave not found"};
  return found->second.get();
}

Result<Enclave*> Enclaves::load(std::string_view name, bool step) {
  if (enclaves_.contains(name)) return Error{Errc::conflict, "enclave_name: an enclave of this name is there already"};
  if (enclaves_.size() >= kMax)
    return Error{Errc::conflict, "there are 64 enclaves, which is all that fit: delete one"};
  auto made = std::make_unique<Enclave>();
  made->name = name;
  made->created = clock_.now();
  CLOISTER_CHECK(plan_load(*made));
  auto* enclave = enclaves_.emplace(std::string{name}, std::move(made)).first->second.get();
  while (!step && !enclave->plan.done()) {
    const auto leaf = enclave->plan.next();
    auto fields = enclave->plan.step();
    if (!fields) {
      const auto error = fields.error();
      unload(*enclave);
      enclaves_.erase(enclaves_.find(name));
      return error;
    }
    events_.add("sgx", name, leaf, *std::move(fields));
  }
  logger_.info("enclave_loaded", {{"enclave", name},
                                  {"mrenclave", codec::to_hex(enclave->mrenclave)},
                                  {"address", hex_number(enclave->base)},
                                  {"len", static_cast<std::int64_t>(kSize)},
                                  {"state", to_string(enclave->state)}});
  return enclave;
}

Result<void> Enclaves::plan_load(Enclave& enclave) {
  auto& cpu = machine_.cpu;
  std::vector<EpcIndex> pages;
  for (EpcIndex i = kFirstPage; i < cpu.pages() && pages.size() < 1 + Image::kPages; ++i) {
    const bool promised = std::ranges::any_of(enclaves_, [i](const auto& other) {
      const auto& e = *other.second;
      return e.state == EnclaveState::loading && (e.secs == i || std::ranges::find(e.pages, i) != e.pages.end());
    });
    if (!cpu.epcm(i).valid && !promised) pages.push_back(i);
  }
  if (pages.size() < 1 + Image::kPages) return Error{Errc::conflict, "the enclave page cache is full: delete an enclave"};
  enclave.secs = pages[0];
  enclave.pages.assign(pages.begin() + 1, pages.begin() + 1 + Image::kPages);
  enclave.base = kFirstBase + pages[0] * kSize;

  const auto image = std::make_shared<const Image>(enclave.name);
  const auto list = image->pages();
  CLOISTER_TRY(mrenclave, measure::mrenclave_of_pages(1, kSize, list));
  enclave.mrenclave = mrenclave;

  auto& plan = enclave.plan;
  plan.add("ECREATE", [&cpu, &enclave]() -> Result<json::Object> {
    CLOISTER_CHECK(
        did("ECREATE", cpu.ecreate(enclave.secs, {.base = enclave.base, .size = kSize, .attributes = kAttributes})));
    return json::Object{{"epc_page", enclave.secs}, {"address", hex_number(enclave.base)}, {"len", kSize}};
  });
  for (std::size_t i = 0; i < std::size(list); ++i) {
    const auto offset = list[i].offset;
    plan.add("EADD",
             [&cpu, &enclave, i, offset, image, one = list[i]]() -> Result<json::Object> {
               CLOISTER_CHECK(did("EADD", cpu.eadd(enclave.pages[i], enclave.secs, enclave.base + offset, one.secinfo,
                                                   one.contents)));
               return json::Object{{"epc_page", enclave.pages[i]},
                                   {"address", hex_number(enclave.base + offset)},
                                   {"len", measure::kSgxPageSize},
                                   {"type", i == 0 ? "tcs" : "reg"}};
             });
    for (std::size_t at = 0; at < measure::kSgxPageSize; at += measure::kSgxChunkSize) {
      plan.add("EEXTEND", [&cpu, &enclave, i, at, offset]() -> Result<json::Object> {
        CLOISTER_CHECK(did("EEXTEND", cpu.eextend(enclave.pages[i], at)));
        return json::Object{{"address", hex_number(enclave.base + offset + at)}, {"len", measure::kSgxChunkSize}};
      });
    }
  }
  plan.add("EINIT", [this, &cpu, &enclave]() -> Result<json::Object> {
    evidence::Sigstruct sigstruct;
    sigstruct.attributes = kAttributes;
    sigstruct.attributes_mask.fill(0xFF);
    sigstruct.misc_mask = 0xFFFFFFFF;
    sigstruct.enclave_hash = enclave.mrenclave;
    sigstruct.isv_prod_id = kIsvProdId;
    sigstruct.isv_svn = kIsvSvn;
    measure::sign_sigstruct(sigstruct, machine_.signer);
    CLOISTER_CHECK(did("EINIT", cpu.einit(enclave.secs, evidence::encode_sigstruct(sigstruct))));
    enclave.state = EnclaveState::initialized;
    enclave.mrsigner = cpu.identity(enclave.secs)->mr_signer;
    return json::Object{{"mrenclave", codec::to_hex(enclave.mrenclave)}, {"mrsigner", codec::to_hex(enclave.mrsigner)}};
  });
  return {};
}

Result<Enclave*> Enclaves::ready(std::string_view name) {
  const auto found = enclaves_.find(name);
  if (found == enclaves_.end()) return load(name, false);
  auto& enclave = *found->second;
  if (enclave.state == EnclaveState::stopped)
    return Error{Errc::conflict, "the enclave was stopped: delete it to load it anew"};
  if (!enclave.plan.done())
    return Error{Errc::conflict, "the enclave is being stepped: next is " + enclave.plan.next()};
  return &enclave;
}

Result<Stepped> Enclaves::step(std::string_view name) {
  CLOISTER_TRY(enclave, find(name));
  if (enclave->plan.done())
    return Error{Errc::conflict, "there is nothing to step: the enclave is " + std::string{to_string(enclave->state)}};
  Stepped out;
  out.did = enclave->plan.next();
  auto fields = enclave->plan.step();
  if (!fields) {
    leave_step(*enclave);
    return fields.error();
  }
  out.fields = *fields;
  // Entering, leaving and what the workload does are events of their own.
  if (enclave->state != EnclaveState::initialized || out.did == "EINIT")
    events_.add("sgx", name, out.did, *std::move(fields));
  out.left = enclave->plan.left();
  if (!enclave->plan.done())
    out.next = enclave->plan.next();
  else
    out.outcome = std::exchange(enclave->outcome, {});
  return out;
}

/// A step may have left it inside.
void Enclaves::leave_step(const Enclave& enclave) {
  const auto* own = machine_.cpu.identity(enclave.secs);
  if (own != nullptr && machine_.cpu.identity_on(kStepProcessor) == own) leave(enclave, kStepProcessor, "end");
}

void Enclaves::unload(Enclave& enclave) {
  leave_step(enclave);
  auto pages = std::exchange(enclave.pages, {});
  pages.push_back(enclave.secs);  // last: it has children until then
  for (const auto page : pages) {
    if (!machine_.cpu.epcm(page).valid) continue;
    CLOISTER_ASSERT(machine_.cpu.eremove(page) == Code::success);
    events_.add("sgx", enclave.name, "EREMOVE", {{"epc_page", page}});
  }
  enclave.plan = {};
  enclave.outcome = {};
  enclave.state = EnclaveState::stopped;
}

Result<Enclave*> Enclaves::stop(std::string_view name) {
  CLOISTER_TRY(enclave, find(name));
  if (enclave->state == EnclaveState::stopped) return Error{Errc::conflict, "the enclave is stopped already"};
  unload(*enclave);
  logger_.info("enclave_stopped", {{"enclave", name}, {"mrenclave", codec::to_hex(enclave->mrenclave)}});
  return enclave;
}

Result<void> Enclaves::remove(std::string_view name) {
  CLOISTER_TRY(enclave, find(name));
  if (enclave->state != EnclaveState::stopped) unload(*enclave);
  logger_.info("enclave_deleted", {{"enclave", name}, {"mrenclave", codec::to_hex(enclave->mrenclave)}});
  enclaves_.erase(enclaves_.find(name));
  return {};
}

const lab_workload::Workload* Enclaves::workload(std::string_view name) const {
  const auto found = std::ranges::find(workloads_, name, &lab_workload::Workload::name);
  return found == workloads_.end() ? nullptr : &*found;
}

Result<void> Enclaves::enter(const Enclave& enclave, unsigned processor, std::string_view why) {
  CLOISTER_CHECK(did("EENTER", machine_.cpu.eenter(processor, enclave.pages.front())));
  events_.add("sgx", enclave.name, "EENTER", {{"processor", processor}, {"for", why}});
  return {};
}

void Enclaves::leave(const Enclave& enclave, unsigned processor, std::string_view why) {
  if (machine_.cpu.eexit(processor) == Code::success)
    events_.add("sgx", enclave.name, "EEXIT", {{"processor", processor}, {"for", why}});
}

json::Value Enclaves::host_answer(const Enclave& enclave, std::string_view ocall, json::Value payload) {
  logger_.info("ocall", {{"enclave", enclave.name},
                         {"mrenclave", codec::to_hex(enclave.mrenclave)},
                         {"call", ocall},
                         {"payload", size_of(payload)}});
  const json::Value answer = json::Object{{"ocall", ocall}, {"payload", std::move(payload)}};
  events_.add("sgx", enclave.name, "OCALL", *answer.as_object());
  return answer;
}

Result<lab_workload::Output> Enclaves::run(Enclave& enclave, const lab_workload::Workload& workload,
                                           const json::Value& payload, unsigned processor) {
  ++enclave.calls;
  events_.add("sgx", enclave.name, "ECALL", {{"call", workload.name}, {"len", size_of(payload)}});
  Inside view{*this, enclave, processor};
  auto output = workload.run(payload, view);
  if (!output) {
    events_.add("sgx", enclave.name, "ECALL_FAILED",
                {{"call", workload.name}, {"why", to_string(output.error().code())}});
    return output;
  }
  log_call(enclave, workload.name, payload, json::Value{output->logged});
  return output;
}

template <class Work>
std::invoke_result_t<Work&> Enclaves::inside(Enclave& enclave, std::string_view why, Work work) {
  CLOISTER_CHECK(enter(enclave, kCallProcessor, why));
  auto out = work();
  leave(enclave, kCallProcessor, why);
  return out;
}

void Enclaves::log_call(const Enclave& enclave, std::string_view call, const json::Value& payload,
                        const json::Value& logged) {
  const auto mrenclave = codec::to_hex(enclave.mrenclave);
  const auto size = size_of(payload);
  const auto text = [&logged](std::string_view name) {
    const auto* member = logged.find(name);
    return member == nullptr || member->as_string() == nullptr ? std::string{} : *member->as_string();
  };
  const auto number = [&logged](std::string_view name) {
    const auto* member = logged.find(name);
    return member == nullptr ? 0.0 : member->as_double().value_or(0);
  };
  if (logged.find("keyword") != nullptr) {
    logger_.info("ecall", {{"enclave", enclave.name},
                           {"mrenclave", mrenclave},
                           {"call", call},
                           {"workload", call},
                           {"payload", size},
                           {"keyword", text("keyword")},
                           {"counts", number("counts")}});
  } else if (logged.find("norm") != nullptr) {
    logger_.info("ecall", {{"enclave", enclave.name},
                           {"mrenclave", mrenclave},
                           {"call", call},
                           {"workload", call},
                           {"payload", size},
                           {"norm", number("norm")}});
  } else if (logged.find("identity") != nullptr) {
    logger_.info("ecall", {{"enclave", enclave.name},
                           {"mrenclave", mrenclave},
                           {"call", call},
                           {"workload", call},
                           {"payload", size},
                           {"identity", text("identity")}});
  } else {
    logger_.info(
        "ecall",
        {{"enclave", enclave.name}, {"mrenclave", mrenclave}, {"call", call}, {"workload", call}, {"payload", size}});
  }
}

Result<json::Value> Enclaves::ecall(std::string_view name, std::string_view call, const json::Value& payload) {
  const auto* found = workload(call);
  if (found == nullptr) {
    events_.add("sgx", name, "ECALL_REFUSED", {{"call", call}});
    logger_.info("ecall_refused", {{"enclave", name}, {"call", call}});
    return Error{Errc::not_found, "call: the enclave has no ECALL of that name"};
  }
  CLOISTER_TRY(enclave, ready(name));
  CLOISTER_TRY(output, inside(*enclave, call, [&] { return run(*enclave, *found, payload, kCallProcessor); }));
  return std::move(output.result);
}

Result<json::Value> Enclaves::ocall(std::string_view name, std::string_view ocall, const json::Value& payload) {
  CLOISTER_TRY(enclave, ready(name));
  return inside(*enclave, ocall, [&] { return Inside{*this, *enclave, kCallProcessor}.ocall(ocall, payload); });
}

Result<Enclave*> Enclaves::begin_ecall(std::string_view name, std::string_view call, json::Value payload) {
  const auto* found = workload(call);
  if (found == nullptr) return ecall(name, call, payload).error();
  CLOISTER_TRY(enclave, ready(name));
  auto& plan = enclave->plan;
  plan.add("EENTER", [this, enclave, name = std::string{call}]() -> Result<json::Object> {
    CLOISTER_CHECK(enter(*enclave, kStepProcessor, name));
    return json::Object{{"processor", kStepProcessor}};
  });
  plan.add("ECALL", [this, enclave, found, payload = std::move(payload)]() -> Result<json::Object> {
    CLOISTER_TRY(output, run(*enclave, *found, payload, kStepProcessor));
    enclave->outcome = std::move(output.result);
    return json::Object{{"call", found->name}};
  });
  plan.add("EEXIT", [this, enclave, name = std::string{call}]() -> Result<json::Object> {
    leave(*enclave, kStepProcessor, name);
    return json::Object{{"processor", kStepProcessor}};
  });
  return enclave;
}

Result<Enclave*> Enclaves::begin_ocall(std::string_view name, std::string_view ocall, json::Value payload) {
  CLOISTER_TRY(enclave, ready(name));
  auto& plan = enclave->plan;
  const auto entering = [this, enclave](std::string why) {
    return [this, enclave, why = std::move(why)]() -> Result<json::Object> {
      CLOISTER_CHECK(enter(*enclave, kStepProcessor, why));
      return json::Object{{"processor", kStepProcessor}};
    };
  };
  const auto leaving = [this, enclave, why = std::string{ocall}]() -> Result<json::Object> {
    leave(*enclave, kStepProcessor, why);
    return json::Object{{"processor", kStepProcessor}};
  };
  plan.add("EENTER", entering(std::string{ocall}));
  plan.add("EEXIT", leaving);
  plan.add("OCALL",
           [this, enclave, ocall = std::string{ocall}, payload = std::move(payload)]() -> Result<json::Object> {
             enclave->outcome = host_answer(*enclave, ocall, payload);
             return *enclave->outcome.as_object();
           });
  plan.add("EENTER", entering("return of an OCALL"));
  plan.add("EEXIT", leaving);
  return enclave;
}

Result<std::string> Enclaves::seal(std::string_view name, std::string_view identity, ByteView plaintext) {
  CLOISTER_TRY(enclave, ready(name));
  CLOISTER_TRY(token, inside(*enclave, "seal", [&] {
                 return Inside{*this, *enclave, kCallProcessor}.seal(identity, plaintext);
               }));
  logger_.info("seal", {{"enclave", name},
                        {"mrenclave", codec::to_hex(enclave->mrenclave)},
                        {"identity", identity},
                        {"len", plaintext.size()}});
  return token;
}

Result<Unsealed> Enclaves::unseal(std::string_view name, std::string_view identity, std::string_view token,
                                  bool allow_stale) {
  CLOISTER_TRY(enclave, ready(name));
  CLOISTER_TRY(out, inside(*enclave, "unseal", [&] {
                 return Inside{*this, *enclave, kCallProcessor}.open(identity, token, allow_stale);
               }));
  logger_.info("unseal", {{"enclave", name},
                          {"mrenclave", codec::to_hex(enclave->mrenclave)},
                          {"identity", identity},
                          {"len", out.plaintext.size()}});
  return out;
}

Result<EnclaveQuote> Enclaves::attest(std::string_view name, std::string_view policy_version,
                                      const std::optional<Nonce16>& nonce) {
  CLOISTER_TRY(enclave, ready(name));
  EnclaveQuote out{.name = enclave->name,
                   .mrenclave = enclave->mrenclave,
                   .mrsigner = enclave->mrsigner,
                   .nonce = nonce ? *nonce : machine_.random.array<16>(),
                   .policy_version = std::string{policy_version},
                   .report_data = {},
                   .quote = {}};
  out.report_data = enclave_report_data(out.nonce, policy_version);
  const auto& quoting = *machine_.quoting_enclave;
  CLOISTER_TRY(report, inside(*enclave, "attest", [&]() -> Result<lab_sgx::Report> {
                 const auto made = machine_.cpu.ereport(kCallProcessor, lab_sgx::encode_target_info(quoting.target()),
                                                        out.report_data);
                 CLOISTER_CHECK(did("EREPORT", made.code()));
                 events_.add("sgx", name, "EREPORT", {{"nonce", codec::to_hex(out.nonce)}});
                 return made.value();
               }));
  CLOISTER_TRY(quote, quoting.quote(report));
  out.quote = std::move(quote);
  events_.add("sgx", name, "QUOTE", {{"nonce", codec::to_hex(out.nonce)}, {"len", out.quote.size()}});
  logger_.info("enclave_attested",
               {{"enclave", name}, {"mrenclave", codec::to_hex(out.mrenclave)}, {"nonce", codec::to_hex(out.nonce)}});
  return out;
}

Result<std::vector<MeasuredRecord>> Enclaves::records(std::string_view name) {
  CLOISTER_TRY(enclave, find(name));
  struct Operation {
    std::uint64_t offset;
    std::optional<SecInfo> added;  // else EEXTEND
    std::span<const std::uint8_t, measure::kSgxPageSize> page;
  };
  const Image image{enclave->name};
  std::vector<Operation> operations;
  for (const auto& page : image.pages()) {
    operations.push_back({page.offset, page.secinfo, page.contents});
    for (std::size_t at = 0; at < measure::kSgxPageSize; at += measure::kSgxChunkSize)
      operations.push_back({page.offset + at, {}, page.contents});
  }
  std::vector<MeasuredRecord> out;
  for (std::size_t count = 0; count <= operations.size();
       ++count) {  // SHA-256 shows nothing on its way: each time anew
    measure::EnclaveMeasurement measurement{1, kSize};
    for (std::size_t i = 0; i < count; ++i) {
      const auto& one = operations[i];
      if (one.added)
        measurement.add(one.offset, *one.added);
      else
        measurement.extend(
            one.offset,
            measure::SgxChunk{one.page.subspan(one.offset % measure::kSgxPageSize).first<256>()});
    }
    const auto* last = count == 0 ? nullptr : &operations[count - 1];
    out.push_back({last == nullptr ? "ECREATE"
                   : last->added   ? "EADD"
                                   : "EEXTEND",
                   last == nullptr ? 0 : last->offset, measurement.finish()});
  }
  return out;
}

std::string Enclaves::owner_of(EpcIndex page) const {
  if (page < kFirstPage) return "quoting enclave";
  for (const auto& [name, enclave] : enclaves_) {
    if (enclave->state == EnclaveState::stopped) continue;
    if (enclave->secs == page || std::ranges::find(enclave->pages, page) != enclave->pages.end()) return name;
  }
  return {};
}

}  // namespace cloister::lab_service
