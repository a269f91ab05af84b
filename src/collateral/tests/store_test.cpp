#include "cloister/collateral/store.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <thread>

#include "cloister/codec/json.hpp"
#include "cloister/collateral/transfer.hpp"
#include "support/support.hpp"
#include "support/synthetic_platform.hpp"

namespace cloister::collateral {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using test::SyntheticPlatform;

const UnixTime kNow = SyntheticPlatform::now();

std::vector<Entry> entries(UnixTime fetched = kNow) {
  auto found = documents_of({{"all", to_bytes(evidence::write_quote_collateral(SyntheticPlatform{}.build().collateral))}});
  EXPECT_TRUE(found.ok());
  std::vector<Entry> out;
  for (auto& document : found->documents) {
    out.push_back({std::move(document), {"\"tag\"", "Sun, 06 Nov 1994 08:49:37 GMT"}, "http://h", fetched, fetched});
  }
  return out;
}

class StoreTest : public testing::Test {
 protected:
  [[nodiscard]] std::unique_ptr<Store> open(StoreLimits limits = {}) const {
    auto opened = Store::open(folder_.path() / "a" / "cache", limits);
    EXPECT_TRUE(opened.ok()) << opened.error().text();
    return opened ? std::move(*opened) : nullptr;
  }
  test::TempDir folder_;
};

TEST_F(StoreTest, GivesBackWhatWasPut) {
  const auto all = entries();
  {
    const auto store = open();
    for (const auto& entry : all) ASSERT_TRUE(store->put(entry, kNow).ok());
  }
  const auto store = open();
  for (const auto& entry : all) {
    const auto found = store->find(entry.document.key);
    ASSERT_TRUE(found.ok()) << found.error().text();
    EXPECT_EQ(*found, entry);
  }
  EXPECT_EQ(store->list()->size(), all.size());
  EXPECT_FALSE(store->find(parse_key("qe_identity/qe").value())->has_value());
}

TEST_F(StoreTest, IsItsOwnersAlone) {
  const auto store = open();
  ASSERT_TRUE(store->put(entries().front(), kNow).ok());
  EXPECT_EQ(fs::status(store->folder()).permissions(), fs::perms::owner_all);
  EXPECT_EQ(fs::status(store->list()->front().file).permissions(), fs::perms::owner_read | fs::perms::owner_write);
  fs::permissions(store->folder(), fs::perms::group_write, fs::perm_options::add);
  EXPECT_EQ(Store::open(store->folder()).error().code(), Errc::configuration_invalid);
}

TEST_F(StoreTest, RefusesWhatIsNoFolder) {
  std::ofstream{folder_.path() / "file"} << "x";
  EXPECT_EQ(Store::open(folder_.path() / "file").error().code(), Errc::configuration_invalid);
  EXPECT_EQ(Store::open(folder_.path() / "file" / "cache").error().code(), Errc::io_error);
  EXPECT_EQ(Store::open({}).error().code(), Errc::configuration_invalid);
}

TEST_F(StoreTest, LeavesNoDrafts) {
  const auto store = open();
  for (const auto& entry : entries()) ASSERT_TRUE(store->put(entry, kNow).ok());
  for (const auto& file : fs::directory_iterator{store->folder()}) EXPECT_EQ(file.path().extension(), ".entry");
}

TEST_F(StoreTest, SaysWhichFileIsDamaged) {
  const auto store = open();
  const auto all = entries();
  for (const auto& entry : all) ASSERT_TRUE(store->put(entry, kNow).ok());
  const auto file = store->list()->front().file;
  const auto text = test::read_text(file);
  const auto key = store->list()->front().entry->document.key;
  for (const auto& damaged : {text.substr(0, text.size() / 2), std::string{}, std::string{"{}"}}) {
    std::ofstream{file, std::ios::trunc} << damaged;
    const auto found = store->find(key);
    ASSERT_FALSE(found.ok());
    EXPECT_EQ(found.error().code(), Errc::collateral_malformed);
    EXPECT_FALSE(store->list()->front().entry.ok());
  }
  // Another's content under this name.
  fs::copy_file(store->list()->back().file, file, fs::copy_options::overwrite_existing);
  EXPECT_EQ(store->find(key).error().code(), Errc::collateral_mismatch);
}

TEST_F(StoreTest, DropsWhatIsOverFirstAndWhatNeverChangesLast) {
  CLOISTER_VECTORS_OR_SKIP(vectors);
  auto vcek = documents_of({{"v", test::read_file(vectors / "attestation/snp/virtee/vcek_turin.der")}});
  ASSERT_TRUE(vcek.ok());
  const auto store = open({.entries = 3, .bytes = 1U << 20});
  const Entry permanent{vcek->documents.front(), {}, "http://h", kNow - 1000h, kNow - 1000h};
  ASSERT_TRUE(store->put(permanent, kNow).ok());
  auto all = entries();
  ASSERT_EQ(all.size(), 4U);
  std::ranges::sort(all, {}, [](const Entry& entry) { return entry.document.expires; });
  all[1].fetched = all[1].checked = kNow - 5h;
  ASSERT_TRUE(store->put(all[0], kNow).ok());
  ASSERT_TRUE(store->put(all[1], kNow).ok());
  ASSERT_TRUE(store->put(all[2], all[0].document.expires).ok());  // the first is over then
  EXPECT_FALSE(store->find(all[0].document.key)->has_value());
  ASSERT_TRUE(store->put(all[3], kNow).ok());
  EXPECT_FALSE(store->find(all[1].document.key)->has_value());  // fetched earliest of those that change
  EXPECT_TRUE(store->find(permanent.document.key)->has_value());
  EXPECT_TRUE(store->find(all[2].document.key)->has_value());
  EXPECT_TRUE(store->find(all[3].document.key)->has_value());
}

TEST_F(StoreTest, ReplacingNeedsNoRoom) {
  const auto store = open({.entries = 1, .bytes = 1U << 20});
  const auto entry = entries().front();
  ASSERT_TRUE(store->put(entry, kNow).ok());
  ASSERT_TRUE(store->put(entry, kNow).ok());
  EXPECT_EQ(store->list()->size(), 1U);
}

TEST_F(StoreTest, AReaderSeesOneWholeVersion) {
  const auto store = open();
  const auto entry = entries().front();
  ASSERT_TRUE(store->put(entry, kNow).ok());
  std::atomic<bool> done{false};
  std::thread writer{[&] {
    for (int i = 0; i < 50; ++i) {
      auto next = entry;
      next.source += std::to_string(i);
      EXPECT_TRUE(store->put(next, kNow).ok());
    }
    done = true;
  }};
  const auto reader = open();
  while (!done) {
    const auto found = reader->find(entry.document.key);
    EXPECT_TRUE(found.ok() && found->has_value());
  }
  writer.join();
}

// --- the file's form ---

TEST(EntryFile, IsWrittenAsItIsRead) {
  for (const auto& entry : entries()) {
    const auto again = parse_entry(write_entry(entry));
    ASSERT_TRUE(again.ok()) << again.error().text();
    EXPECT_EQ(*again, entry);
  }
}

TEST(EntryFile, IsRefusedWhenItIsWrong) {
  namespace json = codec::json;
  const auto good = write_entry(entries().front());
  const auto refused = [&](std::string_view member, std::optional<json::Value> value) {
    auto object = json::parse(good).value();
    if (value) object.set(member, *value);
    else std::erase_if(*object.as_object(), [&](const auto& one) { return one.first == member; });
    const auto entry = parse_entry(json::write(object));
    return entry ? "none" : std::string{to_string(entry.error().code())};
  };
  EXPECT_EQ(refused("version", 1), "none");
  EXPECT_EQ(refused("version", 2), "collateral_malformed");
  EXPECT_EQ(refused("more", 1), "collateral_malformed");
  EXPECT_EQ(refused("key", "tcb_info/tdx/000000000000"), "collateral_mismatch");
  EXPECT_EQ(refused("key", "else"), "collateral_malformed");
  EXPECT_EQ(refused("fetched", "yesterday"), "collateral_malformed");
  EXPECT_EQ(refused("checked", "2000-01-01T00:00:00Z"), "collateral_malformed");
  EXPECT_EQ(refused("etag", std::string(1025, 'x')), "collateral_malformed");
  EXPECT_EQ(refused("issuer_chain", ""), "missing_member");
  EXPECT_EQ(refused("document", "????"), "collateral_malformed");
  EXPECT_EQ(refused("document", ""), "collateral_malformed");
  for (const auto* member : {"version", "key", "source", "fetched", "checked", "etag", "last_modified", "issuer_chain", "document"}) {
    EXPECT_EQ(refused(member, std::nullopt), "collateral_malformed") << member;
  }
}

}  // namespace
}  // namespace cloister::collateral
