#include "cloister/kbs/session_cookies.hpp"

#include <algorithm>
#include <array>

#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"

namespace cloister::kbs {
namespace {

using rcar::Tee;

// Numbers of TEEs in cookies: their places here.
constexpr std::array kTees = {Tee::sgx, Tee::snp, Tee::tdx, Tee::sample};
constexpr std::size_t kIdSize = 16;
constexpr std::size_t kTagSize = 16;
constexpr std::size_t kNamedSize = kIdSize + 1;  // id and TEE
constexpr std::size_t kTimeSize = 6;             // of the id: milliseconds, big-endian

std::chrono::milliseconds made_at(ByteView id) {
  std::uint64_t millis = 0;
  for (const auto byte : id.first(kTimeSize)) millis = (millis << 8U) | byte;
  return std::chrono::milliseconds{millis};
}

storage::broker_sessions::Id new_id(Random& random, UnixTime now) {
  auto id = random.array<kIdSize>();
  auto millis = static_cast<std::uint64_t>(std::chrono::floor<std::chrono::milliseconds>(now.time_since_epoch()).count());
  for (std::size_t i = kTimeSize; i-- > 0; millis >>= 8U) id[i] = static_cast<std::uint8_t>(millis);
  id[6] = static_cast<std::uint8_t>((id[6] & 0x0FU) | 0x70U);
  id[8] = static_cast<std::uint8_t>((id[8] & 0x3FU) | 0x80U);
  return id;
}

}  // namespace

ByteArray<32> SessionCookies::mac(std::string_view use, ByteView named) const {
  const std::string_view tenant{tenant_.str()};
  const std::array length{static_cast<std::uint8_t>(tenant.size())};  // an id is shorter than 256
  return crypto::hmac_sha256(key_.reveal(), {as_bytes(use), length, as_bytes(tenant), named});
}

SessionCookies::Made SessionCookies::make(Tee tee, Random& random, UnixTime now) const {
  const auto place = std::ranges::find(kTees, tee);
  CLOISTER_ASSERT(place != kTees.end());
  Session session{new_id(random, now), tee, {}, {}};
  session.expires = UnixTime{made_at(session.id)} + lifetime_;
  ByteArray<kNamedSize> named{};
  std::ranges::copy(session.id, named.begin());
  named.back() = static_cast<std::uint8_t>(place - kTees.begin());
  session.challenge.nonce = mac("nonce", named);
  auto cookie = codec::to_hex(named);
  cookie += codec::to_hex(ByteView{mac("tag", named)}.first(kTagSize));
  return {std::move(cookie), session};
}

Result<SessionCookies::Session> SessionCookies::read(std::string_view cookie) const {
  const auto bytes = codec::array_from_hex<kNamedSize + kTagSize>(cookie);
  const Error refused{Errc::unauthenticated, "a session of this server expected: begin with a request"};
  if (!bytes) return refused;
  const auto named = ByteView{*bytes}.first(kNamedSize);
  const auto expected = mac("tag", named);
  if (!crypto::equal(ByteView{*bytes}.subspan(kNamedSize), ByteView{expected}.first(kTagSize))) return refused;
  const auto number = named.back();
  if (number >= kTees.size()) return refused;
  Session out{to_array<kIdSize>(named.first(kIdSize)), kTees[number], UnixTime{made_at(named)} + lifetime_, {}};
  out.challenge.nonce = mac("nonce", named);
  return out;
}

}  // namespace cloister::kbs
