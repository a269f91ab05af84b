#include "cloister/measure/sgx.hpp"

#include <algorithm>
#include <bit>
#include <optional>
#include <set>
#include <string>

#include "cloister/codec/cursor.hpp"

namespace cloister::measure {
namespace {

constexpr std::size_t kRecordSize = 64;
constexpr std::uint64_t kPageTypeShift = 8;

using Record = ByteArray<kRecordSize>;
using Tag = std::uint64_t;  // eight characters, little-endian

constexpr Tag tag(std::string_view name) {
  Tag out = 0;
  for (std::size_t i = 0; i < name.size(); ++i) out |= Tag{static_cast<std::uint8_t>(name[i])} << (8 * i);
  return out;
}
constexpr Tag kCreate = tag("ECREATE");
constexpr Tag kAdd = tag("EADD");
constexpr Tag kExtend = tag("EEXTEND");
constexpr Tag kUnmeasured = tag("UNMEASRD");
constexpr Tag kUnsized = tag("UNSIZED");

template <class T>
void put(std::span<std::uint8_t> out, T value) {
  for (std::size_t i = 0; i < sizeof value; ++i) out[i] = static_cast<std::uint8_t>(std::uint64_t{value} >> (8 * i));
}

Record record(Tag name) {
  Record out{};
  put(out, name);
  return out;
}

bool size_fits(std::uint64_t size) {
  return std::has_single_bit(size) && size >= 2 * kSgxPageSize && size <= kMaxEnclaveSize;
}
bool page_fits(std::uint64_t offset, std::uint64_t size) { return offset % kSgxPageSize == 0 && offset < size; }

void extend_page(EnclaveMeasurement& measurement, std::uint64_t offset, SgxPageView page) {
  for (std::size_t at = 0; at < kSgxPageSize; at += kSgxChunkSize) {
    measurement.extend(offset + at, SgxChunk{page.subspan(at).first<kSgxChunkSize>()});
  }
}

// --- the .sgxs stream ---

Error bad(std::string detail) { return Error{Errc::malformed, ".sgxs: " + std::move(detail)}; }
Error misplaced(std::string detail) { return Error{Errc::not_canonical, ".sgxs: " + std::move(detail)}; }

/// Reads records and keeps what their order needs.
class SgxsReader {
 public:
  explicit SgxsReader(ByteView stream) : in_{stream} {}
  [[nodiscard]] bool at_end() const { return in_.at_end(); }
  [[nodiscard]] bool started() const { return size_.has_value(); }
  [[nodiscard]] std::size_t remaining() const { return in_.remaining(); }

  Result<SgxsRecord> next() {
    const auto taken = in_.take(kRecordSize);
    if (!taken) return Error{Errc::truncated, ".sgxs: a record of 64 bytes expected, got " + std::to_string(in_.remaining())};
    codec::Reader fields{*taken};
    const auto name = *fields.u64le();
    if (name == kExtend && size_) return chunk(fields, true);  // sixteen of seventeen
    if (name == kUnsized) return Error{Errc::unsupported, ".sgxs: the enclave has no size (UNSIZED), hence no measurement"};
    if (name == kCreate) return create(fields);
    if (!size_) return misplaced("ECREATE expected first");
    if (name == kAdd) return add(fields);
    if (name == kUnmeasured) return chunk(fields, false);
    return bad("unknown record");
  }

 private:
  Result<SgxsRecord> create(codec::Reader fields) {
    if (size_) return misplaced("a second ECREATE");
    const SgxsCreate out{.ssa_frame_size = *fields.u32le(), .size = *fields.u64le()};
    if (!all_zero(fields.rest())) return bad("ECREATE with bits where zeros belong");
    if (out.ssa_frame_size == 0) return bad("ECREATE without an SSA frame");
    if (!size_fits(out.size)) return bad("ECREATE with a size that is no power of two from 8 KiB to 64 GiB");
    size_ = out.size;
    return SgxsRecord{out};
  }
  Result<SgxsRecord> add(codec::Reader fields) {
    const auto offset = *fields.u64le();
    const auto flags = *fields.u64le();
    if (!all_zero(fields.rest())) return bad("EADD with bits where zeros belong");
    CLOISTER_TRY(secinfo, SecInfo::for_eadd(flags));
    if (!page_fits(offset, *size_)) return bad("EADD outside the enclave or not in whole pages");
    if (page_ && offset <= *page_) return misplaced("pages that do not ascend");
    page_ = offset;
    next_chunk_ = offset;
    return SgxsRecord{SgxsAdd{.offset = offset, .secinfo = secinfo}};
  }
  Result<SgxsRecord> chunk(codec::Reader fields, bool measured) {
    const auto offset = *fields.u64le();
    if (!all_zero(fields.rest())) return bad("a chunk with bits where zeros belong");
    if (offset % kSgxChunkSize != 0) return bad("a chunk that is not in whole 256 bytes");
    if (!page_ || offset < *page_ || offset - *page_ >= kSgxPageSize) return misplaced("a chunk outside the page before it");
    if (offset < next_chunk_) return misplaced("chunks that do not ascend");
    const auto data = in_.take(kSgxChunkSize);
    if (!data) return Error{Errc::truncated, ".sgxs: a chunk of 256 bytes expected, got " + std::to_string(in_.remaining())};
    next_chunk_ = offset + kSgxChunkSize;
    return SgxsRecord{SgxsChunk{.offset = offset, .measured = measured, .data = data->first<kSgxChunkSize>()}};
  }

  codec::Reader in_;
  std::optional<std::uint64_t> size_;
  std::optional<std::uint64_t> page_;
  std::uint64_t next_chunk_ = 0;
};

// --- SIGSTRUCT ---

Bytes reversed(ByteView bytes) { return {bytes.rbegin(), bytes.rend()}; }

struct Quotients {
  ByteArray<384> q1;
  ByteArray<384> q2;
};

/// What lets the CPU compute s^3 mod n without dividing.
Result<Quotients> quotients(const ByteArray<384>& signature, const ByteArray<384>& modulus) {
  const auto s = reversed(signature);
  const auto n = reversed(modulus);
  CLOISTER_TRY(squared, crypto::multiply_and_divide(s, s, n));
  CLOISTER_TRY(cubed, crypto::multiply_and_divide(squared.remainder, s, n));
  return Quotients{to_array<384>(reversed(squared.quotient)), to_array<384>(reversed(cubed.quotient))};
}

}  // namespace

std::uint64_t SecInfo::flags() const noexcept {
  return (read ? kRead : 0) | (write ? kWrite : 0) | (execute ? kExecute : 0) | (std::uint64_t{static_cast<std::uint8_t>(type)} << kPageTypeShift);
}

Result<SecInfo> SecInfo::for_eadd(std::uint64_t flags) {
  const SecInfo out{.type = static_cast<SgxPageType>((flags >> kPageTypeShift) & 0xFF), .read = (flags & kRead) != 0,
                    .write = (flags & kWrite) != 0, .execute = (flags & kExecute) != 0};
  if (out.flags() != flags) return Error{Errc::malformed, "SECINFO: bits without a meaning"};
  if (out.type == SgxPageType::tcs) {
    if (out != tcs()) return Error{Errc::malformed, "SECINFO: a TCS has no permissions"};
    return out;
  }
  if (out.type != SgxPageType::reg) return Error{Errc::malformed, "SECINFO: page type TCS or REG expected"};
  if (out.write && !out.read) return Error{Errc::malformed, "SECINFO: a page to write and not to read"};
  return out;
}

EnclaveMeasurement::EnclaveMeasurement(std::uint32_t ssa_frame_size, std::uint64_t size) {
  auto create = record(kCreate);
  put(std::span{create}.subspan(8), ssa_frame_size);
  put(std::span{create}.subspan(12), size);
  hash_.update(create);
}

void EnclaveMeasurement::add(std::uint64_t offset, const SecInfo& secinfo) {
  auto added = record(kAdd);
  put(std::span{added}.subspan(8), offset);
  put(std::span{added}.subspan(16), secinfo.flags());
  hash_.update(added);
}

void EnclaveMeasurement::extend(std::uint64_t offset, SgxChunk chunk) {
  ByteArray<kRecordSize + kSgxChunkSize> extended{};
  put(extended, kExtend);
  put(std::span{extended}.subspan(8), offset);
  std::ranges::copy(chunk, extended.begin() + kRecordSize);
  hash_.update(extended);
}

Result<Digest32> mrenclave_of_pages(std::uint32_t ssa_frame_size, std::uint64_t size, std::span<const EnclavePage> pages) {
  if (ssa_frame_size == 0) return Error{Errc::invalid_argument, "enclave: no SSA frame"};
  if (!size_fits(size)) return Error{Errc::invalid_argument, "enclave: a size of a power of two from 8 KiB to 64 GiB expected"};
  EnclaveMeasurement measurement{ssa_frame_size, size};
  std::set<std::uint64_t> there;
  for (const auto& page : pages) {
    if (!page_fits(page.offset, size)) return Error{Errc::invalid_argument, "enclave: a page outside or unaligned"};
    if (!there.insert(page.offset).second) return Error{Errc::invalid_argument, "enclave: a page that is there already"};
    if (const auto checked = SecInfo::for_eadd(page.secinfo.flags()); !checked) {
      return Error{Errc::invalid_argument, checked.error().detail()};
    }
    measurement.add(page.offset, page.secinfo);
    if (page.measured) extend_page(measurement, page.offset, page.contents);
  }
  return measurement.finish();
}

namespace {

/// `sink` gets each record, and its bytes.
template <class Sink>
Result<void> read_sgxs(ByteView stream, const Sink& sink) {
  if (stream.size() > kMaxSgxsSize) return Error{Errc::limit_exceeded, ".sgxs: larger than 1 GiB"};
  SgxsReader reader{stream};
  while (!reader.at_end()) {
    const auto rest = stream.last(reader.remaining());
    CLOISTER_TRY(next, reader.next());
    CLOISTER_CHECK(sink(next, rest.first(rest.size() - reader.remaining())));
  }
  if (!reader.started()) return Error{Errc::truncated, ".sgxs: ECREATE expected, got nothing"};
  return {};
}

}  // namespace

Result<void> for_each_sgxs_record(ByteView stream, const SgxsSink& sink) {
  return read_sgxs(stream, [&](const SgxsRecord& next, ByteView) { return sink(next); });
}

/// The records of a canonical stream stand in it as they are hashed, so that MRENCLAVE is the hash of the stream but for
/// what it marks as unmeasured. Each is hashed while it is in the cache.
Result<Digest32> mrenclave_of_sgxs(ByteView stream) {
  crypto::Sha256 hash;
  CLOISTER_CHECK(read_sgxs(stream, [&](const SgxsRecord& next, ByteView bytes) -> Result<void> {
    const auto* chunk = std::get_if<SgxsChunk>(&next);
    if (chunk == nullptr || chunk->measured) hash.update(bytes);
    return {};
  }));
  return hash.finish();
}

Digest32 mrsigner(const evidence::Sigstruct& sigstruct) { return crypto::sha256(sigstruct.modulus); }

Result<void> verify_sigstruct(const evidence::Sigstruct& sigstruct) {
  const crypto::RsaPublicKey key{.modulus = reversed(sigstruct.modulus), .exponent = {3}};
  if (key.modulus.front() < 0x80) return Error{Errc::signature_invalid, "SIGSTRUCT: the modulus has fewer than 3072 bits"};
  if (const auto valid = crypto::verify_rsa_pkcs1_sha256(key, evidence::signed_part(sigstruct), reversed(sigstruct.signature)); !valid) {
    return valid.error().in("SIGSTRUCT");
  }
  CLOISTER_TRY(expected, quotients(sigstruct.signature, sigstruct.modulus));
  if (expected.q1 != sigstruct.q1) return Error{Errc::signature_invalid, "SIGSTRUCT: q1 is not floor(s^2 / n)"};
  if (expected.q2 != sigstruct.q2) return Error{Errc::signature_invalid, "SIGSTRUCT: q2 is not floor((s^2 mod n) * s / n)"};
  return {};
}

void sign_sigstruct(evidence::Sigstruct& sigstruct, const crypto::RsaPrivateKey& key) {
  CLOISTER_ASSERT(key.public_key().modulus.size() == 384 && key.public_key().exponent == Bytes{3});
  sigstruct.modulus = to_array<384>(reversed(key.public_key().modulus));
  sigstruct.signature = to_array<384>(reversed(key.sign_pkcs1_sha256(evidence::signed_part(sigstruct))));
  const auto made = quotients(sigstruct.signature, sigstruct.modulus);
  CLOISTER_ASSERT(made.ok());  // a signature is below its modulus
  sigstruct.q1 = made->q1;
  sigstruct.q2 = made->q2;
}

}  // namespace cloister::measure
