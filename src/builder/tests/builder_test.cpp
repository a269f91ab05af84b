#include "cloister/builder/builder.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <map>

#include "cloister/oci/layout.hpp"
#include "cloister/protocol/launch.hpp"
#include "cloister/provider/td_image.hpp"
#include "support/support.hpp"

namespace cloister::builder {
namespace {

namespace fs = std::filesystem;

template <class T>
Errc code_of(const Result<T>& result) {
  return result ? Errc::internal : result.error().code();
}

/// A folder that images are made of.
class Folder : public testing::Test {
 protected:
  fs::path write(const std::string& name, std::string_view text, unsigned mode = 0644) const {
    const auto path = folder() / name;
    fs::create_directories(path.parent_path());
    std::ofstream{path, std::ios::binary} << text;
    EXPECT_EQ(::chmod(path.c_str(), mode), 0);
    return path;
  }
  [[nodiscard]] fs::path folder() const { return dir_.path() / "folder"; }
  [[nodiscard]] fs::path elsewhere(const std::string& name) const { return dir_.path() / name; }
  [[nodiscard]] Result<oci::BuiltImage> image(std::vector<std::string> entrypoint = {"/run"}) const {
    return image_of_folder(folder(), std::move(entrypoint));
  }
  [[nodiscard]] Digest32 digest() const {
    const auto built = image();
    EXPECT_TRUE(built) << built.error().text();
    return built ? built->digest : Digest32{};
  }

 private:
  test::TempDir dir_;
};

/// Every file of a layout, by its path.
std::map<std::string, Bytes> files_of(const fs::path& layout) {
  std::map<std::string, Bytes> out;
  for (const auto& entry : fs::recursive_directory_iterator{layout}) {
    if (entry.is_regular_file()) out[entry.path().lexically_relative(layout)] = test::read_file(entry.path());
  }
  return out;
}

TEST_F(Folder, GivesTheSameLayoutByteForByte) {
  write("run", "the program", 0755);
  write("data/a", "a");
  write("data/b", "b");
  const auto first = image();
  ASSERT_TRUE(first) << first.error().text();
  ASSERT_TRUE(oci::write_layout(*first, elsewhere("first")));

  // The same names and contents, made in another order, at another time, with other rights for others.
  fs::remove_all(folder());
  write("data/b", "b", 0600);
  write("data/a", "a", 0640);
  const auto program = write("run", "the program", 0700);
  const timespec long_ago[2] = {{1'000'000, 0}, {1'000'000, 0}};
  ASSERT_EQ(::utimensat(AT_FDCWD, program.c_str(), long_ago, 0), 0);
  const auto second = image();
  ASSERT_TRUE(second) << second.error().text();
  ASSERT_TRUE(oci::write_layout(*second, elsewhere("second")));

  EXPECT_EQ(first->digest, second->digest);
  const auto files = files_of(elsewhere("first"));
  EXPECT_EQ(files.size(), 5U);  // layer, configuration, manifest, index, mark
  EXPECT_EQ(files, files_of(elsewhere("second")));
}

TEST_F(Folder, EveryNameContentAndExecutableBitCounts) {
  write("run", "the program", 0755);
  write("data", "a");
  const auto before = digest();
  write("data", "b");
  EXPECT_NE(digest(), before);
  write("data", "a", 0755);
  EXPECT_NE(digest(), before);
  write("data", "a");
  EXPECT_EQ(digest(), before);
  fs::rename(folder() / "data", folder() / "date");
  EXPECT_NE(digest(), before);
  const auto other = image_of_folder(folder(), {"/run", "--fast"});
  ASSERT_TRUE(other);
  EXPECT_NE(other->digest, digest());
}

TEST_F(Folder, LoadsAsTheImageThatItWasMadeOf) {
  write("bin/run", "the program", 0755);
  const auto built = image({"/bin/run", "--fast"});
  ASSERT_TRUE(built) << built.error().text();
  ASSERT_TRUE(oci::write_layout(*built, elsewhere("layout")));
  const auto layout = oci::Layout::open(elsewhere("layout"));
  ASSERT_TRUE(layout) << layout.error().text();
  EXPECT_EQ(*layout->find(), built->digest);
  const auto loaded = oci::load(built->digest, layout->blobs());
  ASSERT_TRUE(loaded) << loaded.error().text();
  EXPECT_EQ(loaded->config.entrypoint, (std::vector<std::string>{"/bin/run", "--fast"}));
}

TEST_F(Folder, WithALinkOrASpecialFileIsRefused) {
  write("run", "the program", 0755);
  const auto refused = [&](const fs::path& odd) {
    const auto built = image();
    EXPECT_EQ(code_of(built), Errc::unsupported) << odd;
    if (!built) {
      EXPECT_NE(built.error().detail().find(odd.filename().string()), std::string::npos);
    }
    fs::remove(odd);
  };
  fs::create_symlink("run", folder() / "link");
  refused(folder() / "link");
  fs::create_symlink("/etc/passwd", folder() / "outside");
  refused(folder() / "outside");
  fs::create_directory_symlink("/etc", folder() / "directory-link");
  refused(folder() / "directory-link");
  ASSERT_EQ(::mkfifo((folder() / "pipe").c_str(), 0644), 0);
  refused(folder() / "pipe");
  EXPECT_TRUE(image());
}

TEST_F(Folder, BeyondTheSizeOfALayerIsRefusedUnread) {
  write("run", "the program", 0755);
  fs::resize_file(write("big", ""), (std::uintmax_t{1} << 30) + 1);  // a hole: nothing is on disk
  EXPECT_EQ(code_of(image()), Errc::limit_exceeded);
}

TEST_F(Folder, WithoutItsEntryPointIsRefused) {
  write("run", "the program", 0755);
  write("data", "no program");
  EXPECT_EQ(code_of(image({})), Errc::invalid_argument);
  EXPECT_EQ(code_of(image({"/absent"})), Errc::invalid_argument);
  EXPECT_EQ(code_of(image({"run"})), Errc::invalid_argument);
  EXPECT_EQ(code_of(image({"/../run"})), Errc::invalid_argument);
  EXPECT_EQ(code_of(image({"/data"})), Errc::invalid_argument);
  EXPECT_NE(image({"/data"}).error().detail().find("chmod +x"), std::string::npos);
  EXPECT_TRUE(image({"/run"}));
}

TEST_F(Folder, ThatIsNotThereIsRefused) {
  EXPECT_EQ(code_of(image()), Errc::not_found);
}

TEST(Program, BringsItsLoaderAndLibraries) {
  const auto self = fs::read_symlink("/proc/self/exe");
  const auto name = self.filename().string();
  const auto image = image_of_program(self);
  ASSERT_TRUE(image) << image.error().text();
  const auto again = image_of_program(self);
  ASSERT_TRUE(again);
  EXPECT_EQ(image->digest, again->digest);
  const auto loaded = oci::load(image->digest, image->source());
  ASSERT_TRUE(loaded) << loaded.error().text();
  const auto& entrypoint = loaded->config.entrypoint;
  EXPECT_EQ(entrypoint.back(), "/" + name);
  const auto loader = provider::elf_interpreter(test::read_file(self));
  ASSERT_TRUE(loader);
  if (*loader) {
    EXPECT_EQ(entrypoint.front(), "/lib/" + (*loader)->filename().string());
  }
}

TEST(Program, ThatIsNoneIsRefused) {
  const test::TempDir dir;
  std::ofstream{dir.path() / "script"} << "#!/bin/sh\n";
  EXPECT_EQ(code_of(image_of_program(dir.path() / "script")), Errc::malformed);
  EXPECT_FALSE(image_of_program(dir.path() / "absent"));
  EXPECT_FALSE(image_of_program(dir.path()));
  EXPECT_EQ(code_of(guest_mrtd(dir.path() / "script")), Errc::malformed);
}

TEST(Program, IsMeasuredToTheByte) {
  const test::TempDir dir;
  auto program = test::read_file(fs::read_symlink("/proc/self/exe"));
  const auto store = [&](const fs::path& path) {
    std::ofstream out{path, std::ios::binary};
    out.write(reinterpret_cast<const char*>(program.data()), static_cast<std::streamsize>(program.size()));
    out.close();
    fs::permissions(path, fs::perms::owner_all);
  };
  fs::create_directory(dir.path() / "changed");
  store(dir.path() / "guest");
  program.push_back(0);
  store(dir.path() / "changed" / "guest");
  const auto mrtd = guest_mrtd(dir.path() / "guest");
  ASSERT_TRUE(mrtd) << mrtd.error().text();
  const auto changed = guest_mrtd(dir.path() / "changed" / "guest");
  ASSERT_TRUE(changed) << changed.error().text();
  EXPECT_EQ(*mrtd, *guest_mrtd(dir.path() / "guest"));
  EXPECT_NE(*mrtd, *changed);
}

/// A specification, and the version that is planned for it.
struct Plan {
  model::ChallengeSpec spec;
  Digest48 mrtd{1};
  std::vector<ByteArray<32>> server_keys = {ByteArray<32>{2}, ByteArray<32>{3}};
  Plan() {
    spec.challenge = *ChallengeId::parse("example");
    spec.image_digest = Digest32{4};
    spec.secrets = {{"salt", "example/salt"}};
  }
  [[nodiscard]] PlannedVersion version() const { return plan_version(spec, mrtd, server_keys); }
};

TEST(PlannedVersion, FollowsFromItsPartsAlone) {
  const auto planned = Plan{}.version();
  EXPECT_EQ(planned.id, Plan{}.version().id);
  EXPECT_EQ(planned.reference, Plan{}.version().reference);
  EXPECT_EQ(planned.reference.mrtd, Plan{}.mrtd);
  EXPECT_EQ(planned.reference.image_digest, Plan{}.spec.image_digest);
  EXPECT_EQ(planned.reference.configuration_digest, protocol::configuration_digest(planned.configuration));
  const auto configuration = protocol::decode_configuration(planned.configuration);
  ASSERT_TRUE(configuration);
  EXPECT_EQ(configuration->role, protocol::Role::instance);
  EXPECT_EQ(configuration->version, planned.id);
  EXPECT_EQ(configuration->image_digest, Plan{}.spec.image_digest);
  EXPECT_EQ(configuration->server_keys, Plan{}.server_keys);
}

TEST(PlannedVersion, HasAnotherNameForAnotherSpecification) {
  const auto named = [](auto change) {
    Plan plan;
    change(plan.spec);
    return plan.version().id;
  };
  const auto same = Plan{}.version().id;
  using Spec = model::ChallengeSpec;
  EXPECT_NE(named([](Spec& spec) { spec.challenge = *ChallengeId::parse("other"); }), same);
  EXPECT_NE(named([](Spec& spec) { spec.image_digest[0] ^= 1; }), same);
  EXPECT_NE(named([](Spec& spec) { spec.secrets.clear(); }), same);
  EXPECT_NE(named([](Spec& spec) { spec.secrets[0].path = "example/pepper"; }), same);
}

TEST(PlannedVersion, HasTheDemandInItsNameAndInWhatIsMeasured) {
  Plan plan;
  const auto before = plan.version();
  EXPECT_FALSE(protocol::decode_configuration(before.configuration)->demand);
  auto& demand = plan.spec.server_evidence.emplace();
  demand.references = {{Digest48{1}, {}, {}}};
  const auto after = plan.version();
  EXPECT_NE(after.id, before.id);
  EXPECT_EQ(protocol::decode_configuration(after.configuration)->demand, plan.spec.server_evidence);
  demand.not_before += std::chrono::seconds{1};
  EXPECT_NE(plan.version().id, after.id);
  EXPECT_NE(plan.version().reference.configuration_digest, after.reference.configuration_digest);
}

TEST(PlannedVersion, PinsTheServersKeysInWhatIsMeasured) {
  Plan plan;
  const auto before = plan.version();
  plan.server_keys[1][0] ^= 1;
  const auto after = plan.version();
  EXPECT_EQ(after.id, before.id);
  EXPECT_NE(after.reference.configuration_digest, before.reference.configuration_digest);
}

}  // namespace
}  // namespace cloister::builder
