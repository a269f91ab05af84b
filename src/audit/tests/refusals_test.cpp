#include "cloister/audit/refusals.hpp"

#include "fixture.hpp"

namespace cloister::audit {
namespace {

using testing::at;  // at(0) begins a minute

class RefusalsTest : public testing::LogFixture {
 protected:
  void SetUp() override {
    LogFixture::SetUp();
    open();
  }
  /// "kind subject count@minute" of every leaf.
  [[nodiscard]] std::string leaves() const {
    std::string out;
    const auto all = *log_->leaves(0, 100);
    for (const auto& bytes : all) {
      const auto leaf = *merkle::decode_audit_leaf(bytes);
      const auto minute = std::chrono::duration_cast<std::chrono::minutes>(leaf.time - at(0)).count();
      out += leaf.kind + " " + leaf.subject + " " + std::to_string(*leaf.detail<std::uint64_t>("count")) + "@" +
             std::to_string(minute) + "; ";
    }
    return out;
  }
  Refusals refusals_;
};

TEST_F(RefusalsTest, BecomeOneLeafPerCodeAndMinute) {
  for (int i = 0; i < 1000; ++i) refusals_.note(Errc::unauthenticated, at(i % 60));
  refusals_.note(Errc::signature_invalid, at(59));
  refusals_.note(Errc::unauthenticated, at(60));
  ASSERT_TRUE(refusals_.flush(*database_, *log_, at(59)));
  EXPECT_EQ(leaves(), "") << "the minute is not over";
  ASSERT_TRUE(refusals_.flush(*database_, *log_, at(60)));
  EXPECT_EQ(leaves(), "refused unauthenticated 1000@0; refused signature_invalid 1@0; ");
  ASSERT_TRUE(refusals_.flush(*database_, *log_, at(61)));
  ASSERT_TRUE(refusals_.flush(*database_, *log_, at(180)));
  EXPECT_EQ(leaves(), "refused unauthenticated 1000@0; refused signature_invalid 1@0; refused unauthenticated 1@1; ");
}

}  // namespace
}  // namespace cloister::audit
