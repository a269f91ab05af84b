#include "cloister/storage/resources.hpp"

#include <sqlite3.h>

#include <algorithm>
#include <span>

#include "fixture.hpp"

namespace cloister::storage {
namespace {

using testing::at;
using testing::id;

class ResourcesTest : public testing::DatabaseTest {
 protected:
  [[nodiscard]] Result<std::uint64_t> put(std::string_view path, ByteView value, int when = 0) {
    return commit([&](Transaction& t) { return resources_.put(t, tenant_, path, value, at(when)); });
  }
  [[nodiscard]] std::string get(std::string_view path, std::optional<std::uint64_t> version = std::nullopt) {
    const auto value = resources_.get(read(), tenant_, path, version);
    return value ? std::string{as_text(value->value.reveal())} : std::string{to_string(value.error().code())};
  }
  template <class Act>
  [[nodiscard]] Errc change(Act act) {
    const auto done = commit([&](Transaction& t) { return act(t); });
    return done ? Errc::internal : done.error().code();
  }
  [[nodiscard]] bool in_the_files(ByteView bytes) const {
    const auto text = as_text(bytes);
    return std::ranges::any_of(std::filesystem::directory_iterator{dir_.path()},
                               [&](const auto& file) { return test::read_text(file.path()).find(text) != std::string::npos; });
  }
  [[nodiscard]] Bytes sealed(std::string_view path) {
    const auto snapshot = read();
    auto rows = snapshot.query("SELECT value FROM resource WHERE path = ?1 AND value IS NOT NULL", {path});
    EXPECT_TRUE(*rows->next());
    return rows->bytes();
  }
  TenantId tenant_ = id<TenantId>("acme");
  Sealer sealer_{kms_, random_};
  Resources resources_{sealer_};
};

TEST_F(ResourcesTest, GiveTheirCurrentVersionOrTheOneThatIsNamed) {
  EXPECT_EQ(*put("a/Key/1", as_bytes("one"), 1), 1U);
  EXPECT_EQ(*put("a/Key/1", as_bytes("two"), 2), 2U);
  EXPECT_EQ(*put("a/Key/2", {}, 3), 1U);
  EXPECT_EQ(get("a/Key/1"), "two");
  EXPECT_EQ(get("a/Key/1", 1), "one");
  EXPECT_EQ(get("a/Key/1", 3), "not_found");
  EXPECT_EQ(get("a/Key/2"), "");
  ASSERT_TRUE(commit([&](Transaction& t) { return resources_.set_current(t, tenant_, "a/Key/1", 1); }));
  EXPECT_EQ(get("a/Key/1"), "one");
  EXPECT_EQ(get("a/Key/1", 2), "two");
  EXPECT_EQ(change([&](Transaction& t) { return resources_.set_current(t, tenant_, "a/Key/1", 3); }), Errc::not_found);
  EXPECT_EQ(change([&](Transaction& t) { return resources_.set_current(t, tenant_, "a/none/1", 1); }), Errc::not_found);
  EXPECT_EQ(*put("a/Key/1", as_bytes("three"), 4), 3U);
  EXPECT_EQ(get("a/Key/1"), "three") << "a new version is the current one";
}

TEST_F(ResourcesTest, SayWhatThereIsWithoutValues) {
  ASSERT_TRUE(put("a/b/1", as_bytes("one"), 1));
  ASSERT_TRUE(put("a/b/1", as_bytes("three"), 2));
  ASSERT_TRUE(put("a/b/2", as_bytes("x"), 3));
  const auto list = *resources_.list(read(), tenant_);
  ASSERT_EQ(list.size(), 2U);
  EXPECT_EQ(list[0].path, "a/b/1");
  EXPECT_EQ(list[0].last, 2U);
  EXPECT_EQ(list[0].current, 2U);
  EXPECT_EQ(list[0].created, at(1));
  EXPECT_EQ(list[1].path, "a/b/2");
  const auto versions = *resources_.versions(read(), tenant_, "a/b/1");
  ASSERT_EQ(versions.size(), 2U);
  EXPECT_EQ(versions[0].number, 2U);
  EXPECT_EQ(versions[0].size, 5U);
  EXPECT_EQ(versions[0].created, at(2));
  EXPECT_EQ(versions[1].size, 3U);
  EXPECT_FALSE(versions[0].generated || versions[0].purged || versions[0].deleted);
  const auto usage = *resources_.usage(read(), tenant_);
  EXPECT_EQ(usage.resources, 2U);
  EXPECT_EQ(usage.bytes, 9U + 3 * Resources::kVersionBytes);
  EXPECT_EQ(resources_.info(read(), tenant_, "a/b/3").error().code(), Errc::not_found);
  EXPECT_EQ(resources_.version(read(), tenant_, "a/b/1", 1)->size, 3U);
  EXPECT_EQ(resources_.version(read(), tenant_, "a/b/1", 3).error().code(), Errc::not_found);
}

TEST_F(ResourcesTest, AreTheTenantsOwn) {
  ASSERT_TRUE(put("a/b/c", as_bytes("value")));
  const auto other = id<TenantId>("other");
  EXPECT_EQ(resources_.get(read(), other, "a/b/c").error().code(), Errc::not_found);
  EXPECT_EQ(resources_.info(read(), other, "a/b/c").error().code(), Errc::not_found);
  EXPECT_TRUE(resources_.list(read(), other)->empty());
  EXPECT_TRUE(resources_.versions(read(), other, "a/b/c")->empty());
  EXPECT_EQ(resources_.usage(read(), other)->bytes, 0U);
  for (const auto& act : std::vector<std::function<Result<void>(Transaction&)>>{
           [&](Transaction& t) { return resources_.set_current(t, other, "a/b/c", 1); },
           [&](Transaction& t) { return resources_.set_labels(t, other, "a/b/c", {}); },
           [&](Transaction& t) { return resources_.set_keep(t, other, "a/b/c", 1); },
           [&](Transaction& t) { return resources_.set_deleted(t, other, "a/b/c", at(1)); },
           [&](Transaction& t) { return resources_.set_deleted(t, other, "a/b/c", 1, at(1)); },
           [&](Transaction& t) { return resources_.purge(t, other, "a/b/c"); },
           [&](Transaction& t) { return resources_.purge(t, other, "a/b/c", 1); }}) {
    EXPECT_EQ(change(act), Errc::not_found);
  }
  EXPECT_EQ(get("a/b/c"), "value");
}

TEST_F(ResourcesTest, DeletedOnesAreNotGivenAndCanBeHadBack) {
  ASSERT_TRUE(put("a/b/c", as_bytes("one")));
  ASSERT_TRUE(put("a/b/c", as_bytes("two")));
  ASSERT_TRUE(commit([&](Transaction& t) { return resources_.set_deleted(t, tenant_, "a/b/c", 2, at(5)); }));
  EXPECT_EQ(get("a/b/c"), "not_found") << "no older one takes its place";
  EXPECT_EQ(get("a/b/c", 2), "not_found");
  EXPECT_EQ(get("a/b/c", 1), "one");
  EXPECT_EQ((*resources_.versions(read(), tenant_, "a/b/c"))[0].deleted, at(5));
  ASSERT_TRUE(commit([&](Transaction& t) { return resources_.set_deleted(t, tenant_, "a/b/c", 2, std::nullopt); }));
  EXPECT_EQ(get("a/b/c"), "two");
  ASSERT_TRUE(commit([&](Transaction& t) { return resources_.set_deleted(t, tenant_, "a/b/c", at(6)); }));
  EXPECT_EQ(get("a/b/c"), "not_found");
  EXPECT_EQ(get("a/b/c", 1), "not_found");
  EXPECT_EQ(resources_.info(read(), tenant_, "a/b/c")->deleted, at(6));
  ASSERT_TRUE(commit([&](Transaction& t) { return resources_.set_deleted(t, tenant_, "a/b/c", std::nullopt); }));
  EXPECT_EQ(get("a/b/c"), "two");
}

TEST_F(ResourcesTest, PurgingErasesValuesAndNeverReusesANumber) {
  ASSERT_TRUE(put("a/b/c", as_bytes("one")));
  ASSERT_TRUE(put("a/b/c", as_bytes("two")));
  ASSERT_TRUE(commit([&](Transaction& t) { return resources_.purge(t, tenant_, "a/b/c", 2); }));
  EXPECT_EQ(get("a/b/c"), "not_found") << "no older one takes its place";
  EXPECT_FALSE(resources_.info(read(), tenant_, "a/b/c")->current);
  EXPECT_EQ(get("a/b/c", 1), "one");
  EXPECT_TRUE((*resources_.versions(read(), tenant_, "a/b/c"))[0].purged);
  EXPECT_EQ(change([&](Transaction& t) { return resources_.purge(t, tenant_, "a/b/c", 2); }), Errc::not_found);
  EXPECT_EQ(change([&](Transaction& t) { return resources_.set_current(t, tenant_, "a/b/c", 2); }), Errc::not_found);
  EXPECT_EQ(change([&](Transaction& t) { return resources_.set_deleted(t, tenant_, "a/b/c", 2, at(1)); }), Errc::not_found);
  ASSERT_TRUE(commit([&](Transaction& t) { return resources_.set_labels(t, tenant_, "a/b/c", {{"env", "prod"}}); }));
  ASSERT_TRUE(commit([&](Transaction& t) { return resources_.purge(t, tenant_, "a/b/c"); }));
  EXPECT_EQ(get("a/b/c", 1), "not_found");
  EXPECT_TRUE(resources_.list(read(), tenant_)->empty());
  EXPECT_EQ(resources_.usage(read(), tenant_)->bytes, 0U);
  EXPECT_EQ(change([&](Transaction& t) { return resources_.purge(t, tenant_, "a/b/c"); }), Errc::not_found);
  EXPECT_EQ(*put("a/b/c", as_bytes("three"), 9), 3U);
  EXPECT_EQ(get("a/b/c"), "three");
  const auto info = *resources_.info(read(), tenant_, "a/b/c");
  EXPECT_TRUE(info.labels.empty());
  EXPECT_EQ(info.created, at(9));
}

TEST_F(ResourcesTest, PurgedValuesAreInNoFileAnyMore) {
  ASSERT_TRUE(put("a/b/small", as_bytes("value")));
  ASSERT_TRUE(put("a/b/large", Bytes(100'000, 7)));
  const auto small = sealed("a/b/small");
  auto large = sealed("a/b/large");
  large.resize(1000);  // what stands on one page
  EXPECT_TRUE(in_the_files(small));
  EXPECT_TRUE(in_the_files(large));
  ASSERT_TRUE(commit([&](Transaction& t) { return resources_.purge(t, tenant_, "a/b/small"); }));
  ASSERT_TRUE(commit([&](Transaction& t) { return resources_.purge(t, tenant_, "a/b/large", 1); }));
  EXPECT_TRUE(*database_->empty_log());
  EXPECT_FALSE(in_the_files(small));
  EXPECT_FALSE(in_the_files(large));
  EXPECT_FALSE(in_the_files(ByteView{large}.subspan(500, 60)));
}

TEST_F(ResourcesTest, AReaderOfAnOlderStateKeepsTheLog) {
  ASSERT_TRUE(put("a/b/c", as_bytes("value")));
  {
    const auto reader = read();
    ASSERT_TRUE(commit([&](Transaction& t) { return resources_.purge(t, tenant_, "a/b/c"); }));
    EXPECT_FALSE(*database_->empty_log());
    EXPECT_EQ(as_text(resources_.get(reader, tenant_, "a/b/c")->value.reveal()), "value");
  }
  EXPECT_TRUE(*database_->empty_log());
}

TEST_F(ResourcesTest, KeepTheNewestAndTheCurrent) {
  for (const auto* value : {"one", "two", "three", "four", "five"}) ASSERT_TRUE(put("a/b/c", as_bytes(std::string_view{value})));
  ASSERT_TRUE(commit([&](Transaction& t) { return resources_.set_current(t, tenant_, "a/b/c", 2); }));
  const auto purged = commit([&](Transaction& t) { return resources_.purge_older(t, tenant_, "a/b/c", 2); });
  EXPECT_EQ(*purged, (std::vector<std::uint64_t>{1, 3}));
  EXPECT_EQ(get("a/b/c"), "two");
  EXPECT_EQ(get("a/b/c", 4), "four");
  EXPECT_EQ(get("a/b/c", 3), "not_found");
  ASSERT_TRUE(commit([&](Transaction& t) { return resources_.set_keep(t, tenant_, "a/b/c", 2); }));
  EXPECT_EQ(resources_.info(read(), tenant_, "a/b/c")->keep, 2U);
  // Where no version is current, the newest stay all the same.
  ASSERT_TRUE(commit([&](Transaction& t) { return resources_.purge(t, tenant_, "a/b/c", 2); }));
  EXPECT_TRUE(commit([&](Transaction& t) { return resources_.purge_older(t, tenant_, "a/b/c", 2); })->empty());
  EXPECT_EQ(*commit([&](Transaction& t) { return resources_.purge_older(t, tenant_, "a/b/c", 1); }), (std::vector<std::uint64_t>{4}));
}

TEST_F(ResourcesTest, AreDeclaredBeforeThereIsAVersion) {
  const auto declare = [&](Transaction& t) { return resources_.declare(t, tenant_, "a/b/c", "random/32", 32, at(1)); };
  ASSERT_TRUE(commit(declare));
  EXPECT_EQ(change(declare), Errc::conflict);
  EXPECT_EQ(get("a/b/c"), "not_found");
  const auto info = *resources_.info(read(), tenant_, "a/b/c");
  EXPECT_EQ(info.generator, "random/32");
  EXPECT_EQ(info.pending, 32U);
  EXPECT_EQ(info.last, 0U);
  EXPECT_FALSE(info.current);
  EXPECT_EQ(resources_.usage(read(), tenant_)->bytes, 32U + Resources::kVersionBytes);
  EXPECT_EQ(resources_.usage(read(), tenant_)->resources, 1U);
  ASSERT_TRUE(commit([&](Transaction& t) { return resources_.put(t, tenant_, "a/b/c", Bytes(32, 1), at(2), true); }));
  EXPECT_EQ(resources_.info(read(), tenant_, "a/b/c")->pending, 0U);
  EXPECT_EQ(resources_.info(read(), tenant_, "a/b/c")->created, at(1));
  EXPECT_TRUE((*resources_.versions(read(), tenant_, "a/b/c"))[0].generated);
  EXPECT_EQ(resources_.usage(read(), tenant_)->bytes, 32U + Resources::kVersionBytes);
  ASSERT_TRUE(commit([&](Transaction& t) { return resources_.purge(t, tenant_, "a/b/c"); }));
  ASSERT_TRUE(commit(declare)) << "after a purge it may be declared anew";
  EXPECT_EQ(resources_.info(read(), tenant_, "a/b/c")->last, 1U);
  EXPECT_EQ(get("a/b/c", 1), "not_found");
}

TEST_F(ResourcesTest, HoldTwoMebibytesAndNoMore) {
  EXPECT_TRUE(put("a/b/c", Bytes(Resources::kMaxValue, 1)).ok());
  EXPECT_EQ(put("a/b/c", Bytes(Resources::kMaxValue + 1, 1)).error().code(), Errc::limit_exceeded);
}

TEST_F(ResourcesTest, AreSealedWhereTheyStand) {
  ASSERT_TRUE(put("a/b/c", as_bytes("one")));
  ASSERT_TRUE(put("a/b/d", as_bytes("two")));
  ASSERT_TRUE(commit([](Transaction& t) {
    return t.run("UPDATE resource SET value = (SELECT value FROM resource r WHERE r.path = 'a/b/c') WHERE path = 'a/b/d'");
  }));
  EXPECT_EQ(resources_.get(read(), tenant_, "a/b/d").error().code(), Errc::decryption_failed);
}

TEST_F(ResourcesTest, LabelsThatAreNoneAreNoted) {
  ASSERT_TRUE(put("a/b/c", as_bytes("one")));
  EXPECT_FALSE(*resources_.labelled(read(), tenant_));
  ASSERT_TRUE(commit([&](Transaction& t) { return resources_.set_labels(t, tenant_, "a/b/c", {{"env", "prod"}, {"x.org/team", ""}}); }));
  EXPECT_TRUE(*resources_.labelled(read(), tenant_));
  EXPECT_FALSE(*resources_.labelled(read(), id<TenantId>("other")));
  EXPECT_EQ(resources_.info(read(), tenant_, "a/b/c")->labels, (Resources::Labels{{"env", "prod"}, {"x.org/team", ""}}));
  for (const auto* text : {"", "[]", R"({"a":1})"}) {
    ASSERT_TRUE(commit([&](Transaction& t) { return t.run("UPDATE resource_head SET labels = ?1", {text}); }));
    EXPECT_EQ(resources_.info(read(), tenant_, "a/b/c").error().code(), Errc::storage_corrupt) << text;
  }
}

/// A database of the step before, with values of every length at which a sealed value's head grows.
TEST_F(ResourcesTest, OfAnOlderDatabaseAreAllThere) {
  const std::size_t sizes[] = {0, 7, 8, 239, 240, 65'519, 65'520, 100'000};
  std::vector<Bytes> values;
  for (const auto size : sizes) {
    ASSERT_TRUE(put("a/b/" + std::to_string(size), Bytes(size, 3)));
    values.push_back(sealed("a/b/" + std::to_string(size)));
  }
  const auto key = commit([&](Transaction& t) -> Result<std::vector<Bytes>> {
    CLOISTER_TRY(rows, t.query("SELECT id, wrapped FROM data_key"));
    CLOISTER_TRY(found, rows.next());
    EXPECT_TRUE(found);
    return std::vector<Bytes>{to_bytes(rows.text()), rows.bytes()};
  });
  ASSERT_NO_FATAL_FAILURE(open_before("resource_versions"));
  {
    auto t = database_->write();
    ASSERT_TRUE(t->run("INSERT INTO data_key (id, tenant, wrapped, active) VALUES (?1, 'acme', ?2, 1)", {as_text((*key)[0]), (*key)[1]}));
    for (std::size_t i = 0; i < values.size(); ++i) {
      ASSERT_TRUE(t->run("INSERT INTO resource (tenant, path, version, value, created) VALUES ('acme', ?1, 1, ?2, 5)",
                         {"a/b/" + std::to_string(sizes[i]), values[i]}));
    }
    ASSERT_TRUE(t->run("INSERT INTO resource (tenant, path, version, value, created) VALUES ('acme', 'a/b/0', 2, NULL, 6)"));
    ASSERT_TRUE(t->run("INSERT INTO resource (tenant, path, version, value, created) VALUES ('acme', 'a/b/gone', 1, NULL, 7)"));
    ASSERT_TRUE(t->commit());
  }
  open();
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto path = "a/b/" + std::to_string(sizes[i]);
    EXPECT_EQ(get(path), std::string(sizes[i], '\3')) << path;
    EXPECT_EQ(resources_.versions(read(), tenant_, path)->back().size, sizes[i]);
  }
  EXPECT_EQ(resources_.list(read(), tenant_)->size(), values.size());
  EXPECT_EQ(resources_.info(read(), tenant_, "a/b/0")->current, 1U);
  EXPECT_EQ(*put("a/b/0", as_bytes("x")), 3U);
  EXPECT_EQ(*put("a/b/gone", as_bytes("x")), 2U);
}

}  // namespace
}  // namespace cloister::storage
