#include <algorithm>
#include <map>

#include "attempt.hpp"
#include "behaviour.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"
#include "cloister/lab_snp/guest_message.hpp"
#include "hex_text.hpp"

/// A host that carries messages between a guest and its firmware, and keeps copies.
namespace cloister::exercise::guest_message_replay {
namespace {

namespace json = codec::json;
using lab_snp::Message;
using lab_snp::MessageSequence;

constexpr std::size_t kReportRequest = 0x60;  // REPORT_DATA 64, VMPL u32, KEY_SEL u32, reserved
constexpr std::size_t kData = 64;
constexpr std::string_view kHidden = "vault passphrase: correct horse battery staple";

/// VMPCK0, of guest and firmware alone.
lab_snp::Vmpck vmpck() { return lab_snp::Vmpck{crypto::sha256(as_bytes("cloister/lab/1/exercises/VMPCK0"))}; }

Bytes request_for(ByteView data) {
  Bytes payload(kReportRequest);
  std::ranges::copy(data.first(std::min(data.size(), kData)), payload.begin());
  return payload;
}

/// 00 01 02 … 3f: the nonce that the first report was asked for with.
Bytes known_data() {
  Bytes out(kData);
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<std::uint8_t>(i);
  return out;
}
Bytes hidden_data() {
  auto out = to_bytes(kHidden);
  out.resize(kData);
  return out;
}

Bytes sealed(std::uint64_t sequence, ByteView data) {
  return lab_snp::seal_message(vmpck(), {.type = lab_snp::MessageType::report_request, .version = 1, .vmpck = 0, .sequence = sequence,
                                         .payload = crypto::SecretBytes::copy_of(request_for(data))});
}

std::string message_text(std::string_view what, ByteView bytes) {
  HexText text;
  text.note(what);
  const auto part = [&](std::string_view name, std::size_t at, std::size_t size) { text.field(name, bytes.subspan(at, size)); };
  part("AUTHTAG: 16 bytes of GCM tag, 16 zeros", 0, 32);
  part("SEQNO (u64, little-endian): with four zero bytes it is the nonce of AES-256-GCM", 32, 8);
  part("reserved", 40, 8);
  part("ALGO 1, HDR_VERSION 1, HDR_SIZE 0x60; from here to 0x5f: associated data", 48, 4);
  part("MSG_TYPE 5 = REPORT_REQ, MSG_VERSION 1, MSG_SIZE 0x60", 52, 4);
  part("reserved, MSG_VMPCK 0, reserved", 56, 40);
  part("ciphertext of REPORT_DATA", 96, 64);
  part("ciphertext of VMPL, KEY_SEL, reserved", 160, 32);
  return text.text();
}

Files more_files() {
  HexText recovered;
  recovered.note("REPORT_DATA of second.hex, as you recovered it: 64 bytes.");
  recovered.field("yours to fill in", Bytes(kData));
  return {{"first.hex", message_text("Sent by a guest whose REPORT_DATA you know: 00 01 02 … 3f.", sealed(1, known_data()))},
          {"second.hex", message_text("Sent by the same guest, after you had restored its snapshot.", sealed(1, hidden_data()))},
          {"recovered.hex", recovered.text()}};
}

std::string seqno_of(ByteView message) {
  return message.size() < lab_snp::kMessageHeaderSize ? "none" : codec::to_hex(message.subspan(0x20, 8));
}

class Wire {
 public:
  explicit Wire(EventLog& log) : log_{log} {}

  Result<void> play(const std::string& op, json::Fields& fields) {
    if (op == "SEND") {
      const auto name = fields.string("as");
      CLOISTER_CHECK(fields.finish());
      const auto number = guest_.next_request().value();
      messages_[name] = {sealed(number, known_data()), false};
      log_.add("guest", op, {{"as", name}, {"seqno", number}}, "success");
    } else if (op == "ALTER") {
      const auto name = fields.string("message");
      const auto at = number(fields, "at", 0xFFF);
      const auto mask = number(fields, "xor", 0xFF);
      CLOISTER_CHECK(fields.finish());
      alter(name, at, static_cast<std::uint8_t>(mask));
    } else if (op == "DELIVER") {
      const auto name = fields.string("message");
      CLOISTER_CHECK(fields.finish());
      deliver(name);
    } else {
      return unknown_op(op, "SEND, ALTER, DELIVER");
    }
    return {};
  }

 private:
  struct Kept {
    Bytes bytes;
    bool altered = false;
  };

  void alter(const std::string& name, std::uint64_t at, std::uint8_t mask) {
    const auto found = messages_.find(name);
    const bool there = found != messages_.end() && at < found->second.bytes.size();
    json::Object with{{"message", name}, {"at", hex_number(at)}};
    if (there) {
      auto& byte = found->second.bytes[at];
      with.emplace_back("was", hex_number(byte));
      byte = static_cast<std::uint8_t>(byte ^ mask);
      with.emplace_back("is", hex_number(byte));
      found->second.altered = found->second.altered || mask != 0;
    }
    log_.add("host", "ALTER", std::move(with), there ? "success" : "no such byte");
  }

  void deliver(const std::string& name) {
    const auto found = messages_.find(name);
    if (found == messages_.end()) return log_.add("host", "DELIVER", {{"message", name}}, "no such message");
    const auto& bytes = found->second.bytes;
    json::Object with{{"message", name}, {"seqno", codec::to_hex(ByteView{bytes}.subspan(0x20, 8))},
                      {"type", std::uint64_t{bytes[0x34]}}, {"altered", found->second.altered}};
    const auto outcome = [&]() -> std::string {
      const auto opened = lab_snp::open_message(vmpck(), bytes);
      if (!opened) return opened.error().text();
      const auto answer = firmware_.accept_request(opened->sequence);
      if (!answer) return answer.error().text();
      CLOISTER_ASSERT(guest_.accept_request(opened->sequence).ok());  // both count alike
      return "answered with seqno " + std::to_string(*answer);
    }();
    log_.add("firmware", "DELIVER", std::move(with), outcome);
  }

  EventLog& log_;
  MessageSequence guest_;
  MessageSequence firmware_;
  std::map<std::string, Kept> messages_;
};

Result<void> replay(const Files& files, EventLog& log) {
  CLOISTER_TRY(first_message, hex_file(files, "first.hex", lab_snp::kMaxMessageSize));
  CLOISTER_TRY(second_message, hex_file(files, "second.hex", lab_snp::kMaxMessageSize));
  CLOISTER_TRY(recovered, hex_file(files, "recovered.hex", kData));
  const auto hidden = hidden_data();
  std::size_t right = 0;
  for (std::size_t i = 0; i < std::min(recovered.size(), hidden.size()); ++i) right += recovered[i] == hidden[i] ? 1U : 0U;
  const bool all = recovered == hidden;
  json::Object with{{"first_seqno", seqno_of(first_message)}, {"second_seqno", seqno_of(second_message)}, {"bytes_right", std::uint64_t{right}}};
  log.add("host", "RECOVER", std::move(with), all ? "recovered: " + std::string{kHidden} : "not the plaintext");
  Wire wire{log};
  return play_steps(files, log, [&](const std::string& op, json::Fields& fields) { return wire.play(op, fields); });
}

constexpr Goal kGoals[] = {
    {"A request that was answered is not taken again", 2,
     [](const EventLog& log) {
       const auto answered = first(log, 0, "DELIVER", "answered");
       return first(log, answered, "DELIVER", "conflict") < log.events().size();
     },
     "SEND, DELIVER, and DELIVER the same message again"},
    {"Its sequence number cannot be raised", 2,
     [](const EventLog& log) {
       return happened(log, "DELIVER", "decryption_failed", {{"altered", "true"}, {"seqno", "0300000000000000"}, {"type", "5"}});
     },
     "ALTER byte 0x20 of the old message so that SEQNO is the one that firmware expects, and DELIVER it"},
    {"Nor can it be made a request for a key", 2,
     [](const EventLog& log) { return happened(log, "DELIVER", "decryption_failed", {{"altered", "true"}, {"type", "3"}}); },
     "ALTER MSG_TYPE at 0x34 of a new message from 5 (REPORT_REQ) to 3 (KEY_REQ), and DELIVER it"},
    {"Two messages under one sequence number give their plaintext away", 4,
     [](const EventLog& log) { return happened(log, "RECOVER", "recovered"); },
     "the ciphertexts at 0x60 of first.hex and second.hex have the same keystream; you know what first.hex says: XOR"},
};

}  // namespace

extern constexpr Behaviour kBehaviour{.tee = "SEV-SNP", .level = 2, .more_files = more_files, .replay = replay, .goals = kGoals};

}  // namespace cloister::exercise::guest_message_replay
