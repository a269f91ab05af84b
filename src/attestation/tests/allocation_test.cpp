#include <gtest/gtest.h>

#include <cstdlib>
#include <new>

#include "cloister/attestation/verify_snp.hpp"
#include "support/support.hpp"
#include "support/synthetic_platform.hpp"
#include "support/synthetic_snp.hpp"
#include "verifying.hpp"

namespace {

thread_local std::size_t allocations = 0;

void* try_allocate(std::size_t size) noexcept {
  ++allocations;
  return std::malloc(size == 0 ? 1 : size);
}

void* allocate(std::size_t size) {
  if (void* memory = try_allocate(size)) return memory;
  throw std::bad_alloc{};
}

}  // namespace

void* operator new(std::size_t size) { return allocate(size); }
void* operator new[](std::size_t size) { return allocate(size); }
void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return try_allocate(size); }
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept { return try_allocate(size); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }

/// Uses of operator new in a verification of which everything but the signatures of this evidence is known. What the C
/// and Rust libraries take for themselves is not seen here.
namespace cloister::attestation {
namespace {

/// `verify_once` from the evidence's bytes to the outcome may allocate what a copy of the outcome does, and no more.
template <class Verify>
void expect_nothing_beyond_the_verdict(const Verify& verify_once) {
  for (int round = 0; round < 3; ++round) ASSERT_TRUE(verify_once().evidence.has_value());
  const auto begin = allocations;
  const auto outcome = verify_once();
  const auto verified = allocations - begin;
  const auto copy = outcome;
  const auto verdict = allocations - begin - verified;
  EXPECT_TRUE(copy.evidence.has_value());
  EXPECT_GT(verdict, 0U);
  EXPECT_LE(verified, verdict);
}

class WarmVerification : public testing::Test {
 protected:
  test::SeededRandom random_{1};
  VerificationCache cache_{random_};
};

TEST_F(WarmVerification, OfAQuoteAllocatesItsVerdictAlone) {
  using evidence::TeeType;
  for (const auto& [tee, version] : {std::pair{TeeType::sgx, 3}, {TeeType::tdx, 4}, {TeeType::tdx, 5}}) {
    SCOPED_TRACE(version);
    const auto built = test::SyntheticPlatform{tee, static_cast<std::uint16_t>(version)}.build();
    const auto documents = evidence::parse_documents(built.collateral).value();
    const auto anchors = anchors_of(built.root, AnchorKind::given);
    expect_nothing_beyond_the_verdict([&] {
      return verify(*evidence::view_quote(built.quote), documents, anchors, test::SyntheticPlatform::now(), &cache_);
    });
  }
}

TEST_F(WarmVerification, OfAnSnpReportAllocatesItsVerdictAlone) {
  for (const auto kind : {evidence::VekKind::vcek, evidence::VekKind::vlek}) {
    const auto chip = test::SyntheticSnp{evidence::SnpProduct::milan, kind};
    const auto built = chip.build();
    const auto anchors = anchors_of(built.root, AnchorKind::given);
    expect_nothing_beyond_the_verdict([&] {
      return verify(*evidence::parse_snp_report(built.report), built.endorsements, anchors, test::SyntheticSnp::now(),
                    &cache_);
    });
  }
}

}  // namespace
}  // namespace cloister::attestation
