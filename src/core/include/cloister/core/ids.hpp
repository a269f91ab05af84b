#pragma once

#include <compare>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "cloister/core/random.hpp"
#include "cloister/core/result.hpp"
#include "cloister/core/time.hpp"

namespace cloister {

/// Text that may name something: 1 to 64 characters of [a-z0-9-_.], beginning with a letter or digit.
[[nodiscard]] bool valid_id(std::string_view text) noexcept;
/// `prefix` + "-" + 26 random characters of lower-case base32 (130 random bits).
[[nodiscard]] std::string random_id(std::string_view prefix, Random& random);
/// `prefix` + "-" + 10 characters of the time in milliseconds (from 1970 on, 50 bits) + 16 random ones (80 bits), in the order of
/// the times: names that are made one after the other stand beside each other in an index. They tell when they were made; whoever
/// knows one finds no other.
[[nodiscard]] std::string ordered_id(std::string_view prefix, UnixTime now, Random& random);

/// A name of one kind; ids of different kinds do not mix. Empty only when default-constructed.
template <class Tag>
class Id {
 public:
  Id() = default;
  [[nodiscard]] static Result<Id> parse(std::string_view text) {
    if (!valid_id(text)) {
      return Error{Errc::invalid_argument, std::string{Tag::kName} + " id: 1 to 64 characters of [a-z0-9-_.] expected"};
    }
    return Id{std::string{text}};
  }
  [[nodiscard]] static Id make(Random& random) { return Id{random_id(Tag::kPrefix, random)}; }
  [[nodiscard]] const std::string& str() const noexcept { return text_; }
  [[nodiscard]] bool empty() const noexcept { return text_.empty(); }
  friend auto operator<=>(const Id&, const Id&) = default;

 private:
  explicit Id(std::string text) : text_{std::move(text)} {}
  std::string text_;
};

#define CLOISTER_ID(type, name, prefix)                          \
  struct type##Tag {                                             \
    static constexpr std::string_view kName = name;              \
    static constexpr std::string_view kPrefix = prefix;          \
  };                                                             \
  using type = Id<type##Tag>

CLOISTER_ID(TenantId, "tenant", "ten");
CLOISTER_ID(ChallengeId, "challenge", "chal");
CLOISTER_ID(VersionId, "version", "ver");
CLOISTER_ID(ValidatorId, "validator", "val");
CLOISTER_ID(InstanceId, "instance", "inst");
CLOISTER_ID(JobId, "job", "job");
CLOISTER_ID(AttemptId, "attempt", "att");
CLOISTER_ID(SessionId, "session", "ses");

#undef CLOISTER_ID

}  // namespace cloister

template <class Tag>
struct std::hash<cloister::Id<Tag>> {
  std::size_t operator()(const cloister::Id<Tag>& id) const noexcept { return std::hash<std::string>{}(id.str()); }
};
