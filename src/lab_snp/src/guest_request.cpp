#include <algorithm>

#include "context.hpp"
#include "derived_key.hpp"

namespace cloister::lab_snp {
namespace {

constexpr std::uint8_t kVersion1 = 1;
constexpr std::uint8_t kKeyRequestVersion = 2;
constexpr std::string_view kKeyUse = "derived keys";
constexpr std::uint8_t kNoMigrationAgent = 0xFF;  // every byte of REPORT_ID_MA

Status not_opened(const Error& error) {
  return error.code() == Errc::decryption_failed ? Status::bad_measurement : Status::invalid_param;
}

}  // namespace

Status Firmware::guest_request(std::uint64_t context, std::uint64_t request, std::uint64_t response) {
  auto& rmp = memory_->rmp();
  if (find(context) == nullptr) return Status::invalid_guest;
  if (!memory_->has(request) || !memory_->has(response)) return Status::invalid_address;
  if (state_of(*rmp.entry(response)) != PageState::firmware) return Status::invalid_page_state;
  if (rmp.entry(request)->size != PageSize::small || rmp.entry(response)->size != PageSize::small) return Status::invalid_page_size;
  auto& guest = *find(context);
  if (guest.state != GuestState::running) return Status::invalid_guest_state;

  const auto page = memory_->host_read(request);
  const auto bytes = message_in(page);
  const auto vmpck = vmpck_of(bytes);
  if (!vmpck || *vmpck >= kVmpcks) return Status::invalid_param;
  const auto opened = open_message(guest.vmpcks[*vmpck], bytes);
  if (!opened) return not_opened(opened.error());
  auto sequence = guest.messages[*vmpck];
  const auto number = sequence.accept_request(opened->sequence);
  if (!number) return Status::aead_oflow;

  const bool is_key = opened->type == MessageType::key_request;
  if (!is_key && opened->type != MessageType::report_request) return Status::invalid_param;
  if (opened->version == 0 || opened->version > (is_key ? kKeyRequestVersion : kVersion1)) return Status::invalid_param;
  const auto sealed = seal_message(guest.vmpcks[*vmpck], {.type = is_key ? MessageType::key_response : MessageType::report_response,
                                                          .version = kVersion1,
                                                          .vmpck = *vmpck,
                                                          .sequence = *number,
                                                          .payload = is_key ? derived_key(guest, *opened) : report(guest, *opened)});
  guest.messages[*vmpck] = sequence;
  Page answer{};
  std::ranges::copy(sealed, answer.begin());
  memory_->write_plain(response, answer);
  return Status::success;
}

/// Section 7.3: what a report says, and who may ask for which.
crypto::SecretBytes Firmware::report(const Context& guest, const Message& message) const {
  const auto refuse = [](Status status) { return crypto::SecretBytes::copy_of(encode_report_response(status, {})); };
  const auto request = parse_report_request(message.payload.reveal());
  if (!request) return refuse(Status::invalid_param);
  const bool vcek_possible = !guest.vcek_disabled;
  if (request->key == KeySelect::vlek && !options_.vlek_loaded) return refuse(Status::invalid_key);
  if (request->key == KeySelect::vcek && !vcek_possible) return refuse(Status::invalid_key);
  if (request->key == KeySelect::either && !vcek_possible && !options_.vlek_loaded) return refuse(Status::invalid_key);
  if (request->vmpl < message.vmpck || request->vmpl >= kVmpls) return refuse(Status::invalid_param);

  const auto encoded = [this](const evidence::SnpTcb& tcb) { return evidence::encode_snp_tcb(tcb, options_.product); };
  const bool loaded = request->key != KeySelect::vcek && options_.vlek_loaded;
  evidence::SnpReportBody body;
  body.version = options_.report_version;
  body.cpuid = body.version >= 3 ? std::optional{chip_cpuid(options_.product)} : std::nullopt;
  if (body.version >= 5) body.mitigations = evidence::SnpMitigations{.launch = guest.launch_mitigations, .current = options_.mitigations};
  if (guest.id_block) {
    body.guest_svn = guest.id_block->guest_svn;
    body.family_id = guest.id_block->family_id;
    body.image_id = guest.id_block->image_id;
  }
  body.policy = guest.policy;
  body.vmpl = request->vmpl;
  body.platform_info = options_.platform_info;
  body.author_key_enabled = guest.author_key_enabled;
  body.chip_key_masked = options_.mask_chip_key;
  body.signing_key = loaded ? evidence::VekKind::vlek : evidence::VekKind::vcek;
  if (options_.mask_chip_key) body.signing_key.reset();
  body.report_data = request->report_data;
  body.measurement = guest.digest.value();
  body.host_data = guest.host_data;
  body.id_key_digest = guest.id_key_digest;
  body.author_key_digest = guest.author_key_digest;
  body.report_id = guest.report_id;
  body.report_id_ma.fill(kNoMigrationAgent);
  body.current_tcb = encoded(options_.current);
  body.reported_tcb = encoded(options_.reported);
  body.committed_tcb = encoded(options_.committed);
  body.launch_tcb = guest.launch_tcb;
  body.current_version = body.committed_version = options_.version;
  if (!options_.mask_chip_id) body.chip_id = authority_->chip_id(options_.product);
  const auto kind = loaded ? evidence::VekKind::vlek : evidence::VekKind::vcek;
  const auto report = sign_report(body, authority_->secret(options_.product, kind, options_.reported));
  CLOISTER_ASSERT(report.ok());  // members and version go together
  return crypto::SecretBytes::copy_of(encode_report_response(Status::success, *report));
}

/// Section 7.2: which keys a guest may have, and what they follow from.
crypto::SecretBytes Firmware::derived_key(const Context& guest, const Message& message) const {
  const auto refuse = [](Status status) { return encode_key_response(status, nullptr); };
  const auto request = parse_key_request(message.version, message.payload.reveal());
  if (!request) return refuse(Status::invalid_param);
  const bool from_vek = request->root == RootKey::vek;
  const bool loaded = request->key != KeySelect::vcek && options_.vlek_loaded;
  if (from_vek) {
    if (options_.mask_chip_key) return refuse(Status::invalid_key);
    if (request->key == KeySelect::vlek && !options_.vlek_loaded) return refuse(Status::invalid_key);
    if (!loaded && guest.vcek_disabled) return refuse(Status::invalid_key);
  }
  if (request->vmpl < message.vmpck || request->vmpl >= kVmpls) return refuse(Status::invalid_param);
  const auto known = request->mitigations ? guest_field::kAll : guest_field::kAll & ~guest_field::kMitigations;
  if ((request->fields & ~known) != 0) return refuse(Status::invalid_param);

  const auto asked = [&request](std::uint64_t field) { return (request->fields & field) != 0; };
  const auto committed = evidence::encode_snp_tcb(options_.committed, options_.product);
  const auto block = guest.id_block.value_or(IdBlock{});
  KeyMix mix{.root = request->root, .id_key = guest.author_key_enabled ? 2U : guest.id_block ? 1U : 0U, .fields = request->fields,
             .vmpl = request->vmpl, .host_data = guest.host_data,
             .id_key_digest = guest.author_key_enabled ? guest.author_key_digest : guest.id_key_digest};
  if (asked(guest_field::kTcbVersion)) mix.tcb = request->tcb;
  if (asked(guest_field::kGuestSvn)) {
    if (request->guest_svn > block.guest_svn) return refuse(Status::invalid_param);
    mix.guest_svn = request->guest_svn;
  }
  if (asked(guest_field::kMitigations)) {
    if ((*request->mitigations & ~guest.launch_mitigations) != 0) return refuse(Status::invalid_param);
    mix.mitigations = *request->mitigations;
  }
  if (asked(guest_field::kPolicy)) mix.policy = guest.policy;
  if (asked(guest_field::kImageId)) mix.image_id = block.image_id;
  if (asked(guest_field::kFamilyId)) mix.family_id = block.family_id;
  if (asked(guest_field::kMeasurement)) mix.measurement = guest.digest.value();

  // Firmware can go down from its own secret, component by component, and never up: also not into bytes that are reserved.
  const auto kind = loaded ? evidence::VekKind::vlek : evidence::VekKind::vcek;
  const auto secret = authority_->secret(options_.product, kind, options_.committed)
                          .lower(asked(guest_field::kTcbVersion) ? request->tcb : committed);
  if (!secret) return refuse(Status::invalid_param);
  const auto key = derive_guest_key(from_vek ? secret->secret(kKeyUse) : guest.vmrk.clone(), mix);
  return encode_key_response(Status::success, &key);
}

}  // namespace cloister::lab_snp
