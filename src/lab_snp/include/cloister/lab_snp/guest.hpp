#pragma once

#include <functional>
#include <optional>

#include "cloister/lab_snp/guest_message.hpp"
#include "cloister/lab_snp/launch_page.hpp"
#include "cloister/lab_snp/request.hpp"

/// LAB ONLY - NOT HARDWARE. The guest's end of the messages to firmware: what a driver does (Linux, drivers/virt/coco/sev-guest).
namespace cloister::lab_snp {

/// What firmware said to a request, and what it gave.
template <class T>
struct Answered {
  Status status = Status::success;
  std::optional<T> value;  // with success alone
};

/// One VMPCK of a guest, and the count of its messages. The host carries the messages: it may drop, change and repeat them.
/// After anything but a good answer the key is not used again, so that no number is ever sealed twice.
/// One thread at a time.
class GuestDriver {
 public:
  /// Brings a request to firmware and an answer back; false when it does not.
  using Carrier = std::function<bool(const Page& request, Page& response)>;

  /// `vmpck`: which key; nothing unless the page is firmware's secrets page.
  [[nodiscard]] static std::optional<GuestDriver> from_secrets(const Page& secrets, unsigned vmpck);

  /// `unavailable` where no answer came or it does not open, and for every request after that; `conflict` for an answer to another
  /// request.
  [[nodiscard]] Result<Answered<ByteArray<evidence::kSnpReportSize>>> report(const ReportRequest& request, const Carrier& carrier);
  [[nodiscard]] Result<Answered<crypto::Secret<32>>> derived_key(const KeyRequest& request, const Carrier& carrier);
  /// Any request: the payload of its answer, of this type.
  [[nodiscard]] Result<crypto::SecretBytes> exchange(MessageType type, std::uint8_t version, ByteView payload, MessageType answer,
                                                     const Carrier& carrier);
  [[nodiscard]] const MessageSequence& messages() const noexcept { return messages_; }
  /// Whether the key may still be used.
  [[nodiscard]] bool usable() const noexcept { return usable_; }

 private:
  GuestDriver(Vmpck key, std::uint8_t vmpck) : key_{std::move(key)}, vmpck_{vmpck} {}
  Vmpck key_;
  std::uint8_t vmpck_;
  MessageSequence messages_;
  bool usable_ = true;
};

}  // namespace cloister::lab_snp
