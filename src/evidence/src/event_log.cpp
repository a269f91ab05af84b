#include "cloister/evidence/event_log.hpp"

#include <algorithm>
#include <array>

#include "cloister/codec/cbor.hpp"
#include "cloister/codec/cursor.hpp"
#include "cloister/codec/json.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"

namespace cloister::evidence {
namespace {

namespace cbor = codec::cbor;
namespace json = codec::json;

constexpr std::string_view kGuestLogDomain = "cloister/event-log/1";
constexpr std::string_view kGuestEventDomain = "cloister/event/1";
constexpr std::uint16_t kAlgSha384 = 0x000C;  // TCG Algorithm Registry, TPM_ALG_SHA384
constexpr std::size_t kMaxAlgorithms = 8;
constexpr std::size_t kMaxNameSize = 256;
constexpr std::array<std::uint8_t, 16> kSpecIdSignature{'S', 'p', 'e', 'c', ' ', 'I', 'D', ' ',
                                                        'E', 'v', 'e', 'n', 't', '0', '3', 0};

Error malformed(std::string detail) { return Error{Errc::evidence_malformed, "event log: " + std::move(detail)}; }

Result<void> check_size(std::size_t size) {
  if (size <= kMaxEventLogSize) return {};
  return Error{Errc::limit_exceeded, "event log: at most " + std::to_string(kMaxEventLogSize) + " bytes expected, got " +
                                         std::to_string(size)};
}

// --- TCG crypto-agile format ---

struct Algorithm {
  std::uint16_t id;
  std::uint16_t digest_size;
};

class CcelReader {
 public:
  explicit CcelReader(ByteView bytes) : in_{bytes} {}

  Result<EventLog> read() {
    CLOISTER_CHECK(read_spec_id());
    EventLog out;
    while (!at_padding()) {
      auto event = read_event();
      if (!event) return event.error().in("event " + std::to_string(out.size()));
      out.push_back(std::move(event).value());
    }
    return out;
  }

 private:
  [[nodiscard]] bool at_padding() const {
    const auto rest = in_.rest();
    const auto filled_with = [&](std::uint8_t pad) {
      return std::ranges::all_of(rest, [pad](std::uint8_t byte) { return byte == pad; });
    };
    return filled_with(0x00) || filled_with(0xFF);
  }

  /// TCG_PCR_EVENT with a TCG_EfiSpecIDEvent: the one event in the old format.
  Result<void> read_spec_id() {
    const auto head = in_.take(8 + 20);
    const auto size = in_.u32le();
    if (!head || !size) return malformed("truncated in its head");
    const auto data = in_.take(*size);
    if (!data) return malformed("truncated in its head");
    if (codec::Reader type{head->subspan(4)}; type.u32le() != kEventNoAction) return malformed("head of another type");
    return read_algorithms(*data);
  }

  Result<void> read_algorithms(ByteView data) {
    codec::Reader in{data};
    const auto signature = in.take(kSpecIdSignature.size());
    const auto versions = in.take(8);  // platform class, versions, size of UINTN: nothing depends on them
    const auto count = in.u32le();
    if (!signature || !same_bytes(*signature, kSpecIdSignature)) return malformed("\"Spec ID Event03\" expected");
    if (!versions || !count || *count > kMaxAlgorithms) return malformed("bad list of algorithms");
    for (std::uint32_t i = 0; i < *count; ++i) {
      const auto id = in.u16le();
      const auto size = in.u16le();
      if (!id || !size) return malformed("truncated in the list of algorithms");
      if (find(*id) != nullptr) return malformed("an algorithm is listed twice");
      algorithms_.push_back({*id, *size});
    }
    const auto vendor_size = in.u8();
    if (!vendor_size || !in.take(*vendor_size) || !in.at_end()) return malformed("bad vendor information");
    const auto* sha384 = find(kAlgSha384);
    if (sha384 == nullptr || sha384->digest_size != Digest48{}.size()) return malformed("no SHA-384 bank");
    return {};
  }

  Result<Event> read_event() {
    Event out;
    const auto index = in_.u32le();
    const auto type = in_.u32le();
    const auto count = in_.u32le();
    if (!index || !type || !count) return malformed("truncated");
    if (*index > 4) return malformed("register index 0 to 4 expected, got " + std::to_string(*index));
    if (*index > 0) out.rtmr = static_cast<std::uint8_t>(*index - 1);
    out.type = *type;
    CLOISTER_TRY(digest, read_digests(*count));
    out.digest = digest;
    const auto size = in_.u32le();
    if (!size) return malformed("truncated");
    const auto data = in_.take(*size);
    if (!data) return malformed("truncated in its data");
    out.data = to_bytes(*data);
    return out;
  }

  Result<Digest48> read_digests(std::uint32_t count) {
    std::optional<Digest48> found;
    if (count > algorithms_.size()) return malformed("more digests than algorithms");
    for (std::uint32_t i = 0; i < count; ++i) {
      const auto id = in_.u16le();
      const auto* algorithm = id ? find(*id) : nullptr;
      if (algorithm == nullptr) return malformed("a digest of an algorithm that is not listed");
      const auto digest = in_.take(algorithm->digest_size);
      if (!digest) return malformed("truncated in a digest");
      if (*id != kAlgSha384) continue;
      if (found) return malformed("two SHA-384 digests");
      found = to_array<48>(*digest);
    }
    if (!found) return malformed("no SHA-384 digest");
    return *found;
  }

  [[nodiscard]] const Algorithm* find(std::uint16_t id) const {
    const auto found = std::ranges::find(algorithms_, id, &Algorithm::id);
    return found == algorithms_.end() ? nullptr : &*found;
  }

  codec::Reader in_;
  std::vector<Algorithm> algorithms_;
};

// --- the same format, written ---

/// TCG_PCR_EVENT with a TCG_EfiSpecIDEvent: no platform class, version 2.0, 64-bit UINTN, one bank.
void write_spec_id(codec::Writer& out) {
  codec::Writer data;
  data.raw(kSpecIdSignature);
  data.u32le(0);
  data.raw(ByteArray<4>{0, 2, 0, 2});
  data.u32le(1);
  data.u16le(kAlgSha384);
  data.u16le(Digest48{}.size());
  data.u8(0);
  out.u32le(1);  // as firmware has it; the index of this event means nothing
  out.u32le(kEventNoAction);
  out.zeros(20);
  out.u32le(static_cast<std::uint32_t>(data.size()));
  out.raw(data.bytes());
}

void write_event(codec::Writer& out, const Event& event) {
  out.u32le(event.rtmr ? *event.rtmr + 1U : 0U);
  out.u32le(event.type);
  out.u32le(1);
  out.u16le(kAlgSha384);
  out.raw(event.digest);
  out.u32le(static_cast<std::uint32_t>(event.data.size()));
  out.raw(event.data);
}

// --- the ACPI table ---

constexpr std::array<std::uint8_t, 4> kCcelSignature{'C', 'C', 'E', 'L'};
constexpr std::size_t kChecksumOffset = 9;
constexpr std::size_t kTableHeaderSize = 36;  // as every ACPI table begins
constexpr std::uint8_t kCcTypeTdx = 2;

std::uint8_t sum_of(ByteView bytes) {
  unsigned sum = 0;
  for (const auto byte : bytes) sum += byte;
  return static_cast<std::uint8_t>(sum);
}

// --- dstack ---

Digest48 dstack_digest(const Event& event) {
  codec::Writer type;
  type.u32le(event.type);
  return crypto::sha384({type.bytes(), as_bytes(":"), as_bytes(event.name), as_bytes(":"), event.data});
}

Result<Event> read_dstack_event(const json::Value& value, std::size_t number) {
  json::Fields fields{value, "event " + std::to_string(number)};
  Event out;
  out.rtmr = static_cast<std::uint8_t>(fields.integer("imr", 0, 3));
  out.type = static_cast<std::uint32_t>(fields.integer("event_type", 0, UINT32_MAX));
  out.name = fields.string("event");
  out.data = fields.hex("event_payload");
  const auto digest = fields.hex("digest");
  if (const auto done = fields.finish_lenient(); !done) return malformed(done.error().detail());
  const bool runtime = out.type == kEventDstackRuntime;
  if (out.name.size() > kMaxNameSize) return malformed("event " + std::to_string(number) + ": name too long");
  if (digest.size() != out.digest.size() && !(runtime && digest.empty())) {
    return malformed("event " + std::to_string(number) + ": a digest of 48 bytes expected");
  }
  out.digest = runtime ? dstack_digest(out) : to_array<48>(digest);
  if (!digest.empty() && !same_bytes(digest, out.digest)) {
    return malformed("event " + std::to_string(number) + ": digest differs from name and payload");
  }
  return out;
}

Result<EventLog> read_dstack_list(const json::Value& list) {
  const auto* items = list.as_array();
  if (items == nullptr) return malformed("an array expected");
  EventLog out;
  for (const auto& item : *items) {
    CLOISTER_TRY(event, read_dstack_event(item, out.size()));
    out.push_back(std::move(event));
  }
  return out;
}

/// The list, or what dstack's agent answers with the list in it.
Result<EventLog> read_dstack_document(std::string_view text) {
  CLOISTER_CHECK(check_size(text.size()));
  const auto root = json::parse(text);
  if (!root) return malformed(root.error().text());
  if (root->as_array() != nullptr) return read_dstack_list(*root);
  const auto* member = root->find("event_log");
  if (member == nullptr) return malformed("an object with a member event_log expected");
  const auto* inner = member->as_string();
  return inner != nullptr ? parse_dstack_event_log(*inner) : read_dstack_list(*member);
}

}  // namespace

Result<EventLog> parse_ccel(ByteView bytes) {
  CLOISTER_CHECK(check_size(bytes.size()));
  return CcelReader{bytes}.read();
}

Result<Bytes> encode_ccel(const EventLog& log, std::size_t area) {
  codec::Writer out;
  write_spec_id(out);
  for (const auto& event : log) write_event(out, event);
  auto bytes = std::move(out).take();
  CLOISTER_CHECK(check_size(area));
  if (bytes.size() > area) {
    return Error{Errc::limit_exceeded, "event log: needs " + std::to_string(bytes.size()) + " bytes, the area has " +
                                           std::to_string(area)};
  }
  bytes.resize(area, 0xFF);
  return bytes;
}

Result<CcelTable> parse_ccel_table(ByteView bytes) {
  codec::Reader in{bytes};
  const auto signature = in.take(kCcelSignature.size());
  const auto length = in.u32le();
  if (bytes.size() != kCcelTableSize || *length != kCcelTableSize) return malformed("CCEL table of 56 bytes expected");
  if (!same_bytes(*signature, kCcelSignature)) return malformed("CCEL table without its signature");
  if (sum_of(bytes) != 0) return malformed("CCEL table with a wrong checksum");
  codec::Reader fields{bytes.subspan(kTableHeaderSize)};
  CcelTable table;
  table.cc_type = *fields.u8();
  table.cc_subtype = *fields.u8();
  (void)fields.u16le();  // reserved
  if (table.cc_type != kCcTypeTdx) {
    return Error{Errc::evidence_unsupported, "CCEL table type: 2 (TDX) expected, got " + std::to_string(table.cc_type)};
  }
  table.log_size = *fields.u64le();
  table.log_address = *fields.u64le();
  return table;
}

ByteArray<kCcelTableSize> encode_ccel_table(const CcelTable& table) {
  codec::Writer out;
  out.raw(kCcelSignature);
  out.u32le(kCcelTableSize);
  out.u8(1);  // revision
  out.u8(0);  // checksum, below
  out.raw(as_bytes("CLOIST"));
  out.raw(as_bytes("LAB ONLY"));
  out.u32le(1);
  out.raw(as_bytes("CLST"));
  out.u32le(1);
  out.u8(table.cc_type);
  out.u8(table.cc_subtype);
  out.zeros(2);
  out.u64le(table.log_size);
  out.u64le(table.log_address);
  auto bytes = to_array<kCcelTableSize>(std::move(out).take());
  bytes[kChecksumOffset] = static_cast<std::uint8_t>(0x100U - sum_of(bytes));
  return bytes;
}

Result<EventLog> parse_dstack_event_log(std::string_view text) {
  CLOISTER_CHECK(check_size(text.size()));
  const auto root = json::parse(text);
  if (!root) return malformed(root.error().text());
  return read_dstack_list(*root);
}

Digest48 guest_event_digest(std::string_view name, ByteView payload) {
  cbor::Writer out;
  out.array(3).text(kGuestEventDomain).text(name).bytes(payload);
  return crypto::sha384(std::move(out).take());
}

Result<std::vector<GuestEvent>> parse_guest_event_log(ByteView bytes) {
  CLOISTER_CHECK(check_size(bytes.size()));
  cbor::Reader in{bytes};
  in.array(2);
  in.domain(kGuestLogDomain);
  const auto count = in.array_up_to(kMaxEvents);
  std::vector<GuestEvent> out;
  for (std::size_t i = 0; i < count && !in.failed(); ++i) {
    in.array(3);
    const auto rtmr = in.uint();
    const auto name = in.text();
    const auto payload = in.bytes();
    if (rtmr > 3) in.fail(Errc::malformed, "RTMR 0 to 3 expected");
    if (name.size() > kMaxNameSize) in.fail(Errc::malformed, "name too long");
    out.push_back({static_cast<std::uint8_t>(rtmr & 3), std::string{name}, to_bytes(payload)});
  }
  if (const auto done = in.finish(); !done) return malformed(done.error().text());
  return out;
}

Bytes encode_guest_event_log(const std::vector<GuestEvent>& events) {
  cbor::Writer out;
  out.array(2).text(kGuestLogDomain).array(events.size());
  for (const auto& event : events) out.array(3).uint(event.rtmr).text(event.name).bytes(event.payload);
  return std::move(out).take();
}

EventLog to_event_log(const std::vector<GuestEvent>& events) {
  EventLog out;
  for (const auto& event : events) {
    out.push_back({event.rtmr, kEventGuest, guest_event_digest(event.name, event.payload), event.name, event.payload});
  }
  return out;
}

Result<EventLog> parse_event_log(ByteView bytes) {
  constexpr std::uint8_t kCborPair = 0x82;  // an array of two
  const auto text = as_text(bytes);
  const auto first = text.find_first_not_of(" \t\r\n");
  if (first != std::string_view::npos && (text[first] == '[' || text[first] == '{')) return read_dstack_document(text);
  if (bytes.empty() || bytes.front() != kCborPair) return parse_ccel(bytes);
  CLOISTER_TRY(events, parse_guest_event_log(bytes));
  return to_event_log(events);
}

}  // namespace cloister::evidence
