#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>

#include "cloister/codec/cursor.hpp"
#include "cloister/storage/access.hpp"
#include "fixture.hpp"

namespace cloister::storage {
namespace {

constexpr std::uint32_t kAcknowledged = 40;

/// Writes pairs of settings, one transaction a pair, and tells each over the pipe once it is committed.
[[noreturn]] void write_forever(const std::filesystem::path& file, int pipe) {
  auto database = Database::open(file);
  if (!database) ::_exit(1);
  for (std::uint32_t i = 0;; ++i) {
    auto transaction = (*database)->write();
    if (!transaction) ::_exit(2);
    const auto name = std::to_string(i);
    if (!settings::set(*transaction, "first-" + name, Bytes(1000, 1))) ::_exit(3);
    if (!settings::set(*transaction, "second-" + name, Bytes(1000, 2))) ::_exit(4);
    if (!transaction->commit()) ::_exit(5);
    codec::Writer told;
    told.u32be(i);
    if (::write(pipe, told.bytes().data(), told.size()) != 4) ::_exit(6);
  }
}

TEST(Crash, KeepsEverythingThatWasAcknowledgedAndNothingHalf) {
  const test::TempDir dir;
  const auto file = dir.path() / "cloister.db";
  std::uint32_t acknowledged = 0;
  for (int life = 0; life < 3; ++life) {
    std::array<int, 2> ends{};
    ASSERT_EQ(::pipe(ends.data()), 0);
    const auto child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) write_forever(file, ends[1]);
    ::close(ends[1]);
    ByteArray<4> told{};
    std::uint32_t last = 0;
    while (last + 1 < kAcknowledged) {
      ASSERT_EQ(::read(ends[0], told.data(), told.size()), 4) << "the child ended by itself";
      last = *codec::Reader{told}.u32be();
    }
    ASSERT_EQ(::kill(child, SIGKILL), 0);
    // What it told before it died counts too.
    while (::read(ends[0], told.data(), told.size()) == 4) last = *codec::Reader{told}.u32be();
    ::close(ends[0]);
    ASSERT_EQ(::waitpid(child, nullptr, 0), child);
    acknowledged = std::max(acknowledged, last + 1);

    auto database = Database::open(file);
    ASSERT_TRUE(database) << database.error().text();
    const auto snapshot = *(*database)->read();
    for (std::uint32_t i = 0; i < acknowledged; ++i) {
      ASSERT_TRUE(settings::get(snapshot, "first-" + std::to_string(i))) << i;
      ASSERT_TRUE(settings::get(snapshot, "second-" + std::to_string(i))) << i;
    }
    const auto next = std::to_string(acknowledged);
    EXPECT_EQ(settings::get(snapshot, "first-" + next).ok(), settings::get(snapshot, "second-" + next).ok());
    auto rows = *snapshot.query("PRAGMA integrity_check");
    ASSERT_TRUE(*rows.next());
    EXPECT_EQ(rows.text(), "ok");
  }
}

}  // namespace
}  // namespace cloister::storage
