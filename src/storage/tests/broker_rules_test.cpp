#include "cloister/storage/broker_rules.hpp"

#include "fixture.hpp"

namespace cloister::storage {
namespace {

using testing::at;
using testing::tenant;

class BrokerRulesTest : public testing::DatabaseTest {
 protected:
  [[nodiscard]] Result<void> set(std::string_view name, std::string_view text, std::string_view of = "acme") {
    const broker_rules::Policy policy{std::string{broker_rules::kResource}, std::string{name}, "default/", std::string{text}, at(7)};
    return commit([&](Transaction& t) { return broker_rules::set(t, tenant(of), policy); });
  }
  [[nodiscard]] Result<void> set_values(std::string_view values) {
    return commit([&](Transaction& t) { return broker_rules::set_reference_values(t, tenant("acme"), values); });
  }
};

TEST_F(BrokerRulesTest, PoliciesOutliveARestartAndAreReplaced) {
  ASSERT_TRUE(set("disks", "one"));
  ASSERT_TRUE(set("disks", "two"));
  ASSERT_TRUE(set("all", "three"));
  open();
  const auto policies = broker_rules::policies(read(), tenant("acme")).value();
  ASSERT_EQ(policies.size(), 2U);
  EXPECT_EQ(policies[0].name, "all");
  EXPECT_EQ(policies[1].name, "disks");
  EXPECT_EQ(policies[1].text, "two");
  EXPECT_EQ(policies[1].kind, broker_rules::kResource);
  EXPECT_EQ(policies[1].scope, "default/");
  EXPECT_EQ(policies[1].changed, at(7));
}

TEST_F(BrokerRulesTest, PoliciesAreOneTenants) {
  ASSERT_TRUE(set("disks", "one"));
  EXPECT_TRUE(broker_rules::policies(read(), tenant("other"))->empty());
  const auto remove = [&](std::string_view of) {
    return commit([&](Transaction& t) { return broker_rules::remove(t, tenant(of), broker_rules::kResource, "disks"); });
  };
  EXPECT_EQ(remove("other").error().code(), Errc::not_found);
  EXPECT_TRUE(remove("acme"));
  EXPECT_TRUE(broker_rules::policies(read(), tenant("acme"))->empty());
}

TEST_F(BrokerRulesTest, ReferenceValuesAreOneTenants) {
  EXPECT_FALSE(*broker_rules::reference_values(read(), tenant("acme")));
  ASSERT_TRUE(set_values(R"({"a":1})"));
  ASSERT_TRUE(set_values(R"({"a":2})"));
  open();
  EXPECT_EQ(*broker_rules::reference_values(read(), tenant("acme")), R"({"a":2})");
  EXPECT_FALSE(*broker_rules::reference_values(read(), tenant("other")));
}

}  // namespace
}  // namespace cloister::storage
