#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "cli.hpp"
#include "cloister/codec/json.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/lab/platform.hpp"
#include "cloister/policy/trust_file.hpp"
#include "support/support.hpp"
#include "support/synthetic_platform.hpp"
#include "support/vendor_service.hpp"

namespace cloister::cli {
namespace {

namespace fs = std::filesystem;
namespace json = codec::json;

const UnixTime kCreated = from_civil(2026, 3, 1, 12, 0, 0).value();

struct Ran {
  int code = 0;
  std::string out;
  std::string err;
  [[nodiscard]] json::Value json() const {
    const auto value = json::parse(out);
    EXPECT_TRUE(value.ok()) << out << err;
    return value ? *value : json::Value{};
  }
};

/// A lab's machine, its quote, the service that has its collateral, and a cache of the user's own.
class CollateralCommand : public testing::Test {
 protected:
  CollateralCommand() {
    ::setenv("XDG_CACHE_HOME", (folder_.path() / "cache").c_str(), 1);
    ::setenv("XDG_CONFIG_HOME", (folder_.path() / "config").c_str(), 1);
    use(machine());
  }
  ~CollateralCommand() override {
    ::unsetenv("XDG_CACHE_HOME");
    ::unsetenv("XDG_CONFIG_HOME");
  }

  static lab::Platform machine(lab::Platform::Options options = {}) {
    return lab::Platform::create(crypto::Secret<32>{ByteArray<32>{1}}, kCreated, std::move(options));
  }
  void use(const lab::Platform& platform) {
    const std::vector<measure::TdFile> files{{"cloister-guest", 0755, Bytes(5000, 0x33)}};
    const auto td = platform.launch({}, files).value();
    write("quote", as_text(platform.quote(*td.tdg_mr_report(Digest64{1})).value()));
    service_.put(platform.collateral(clock_.now()));
    policy::TrustFile trust;
    trust.lab_roots = {crypto::x509::parse_certificate(platform.root()).value()};
    write("trust.json", policy::write_trust_file(trust));
  }
  void write(const std::string& name, std::string_view text) const {
    std::ofstream{folder_.path() / name, std::ios::binary} << text;
  }
  [[nodiscard]] std::string path(const std::string& name) const { return (folder_.path() / name).string(); }

  [[nodiscard]] Ran run(std::vector<std::string> arguments) const {
    std::ostringstream out;
    std::ostringstream err;
    const int code = cli::run(std::move(arguments), out, err, clock_);
    return {code, out.str(), err.str()};
  }
  [[nodiscard]] Ran fetch(std::vector<std::string> more = {}) const {
    std::vector<std::string> all{"collateral", "fetch", "--evidence", path("quote"), "--url", service_.url(), "--wait", "0"};
    all.insert(all.end(), more.begin(), more.end());
    return run(std::move(all));
  }
  [[nodiscard]] Ran verify(const std::string& collateral) const {
    return run({"verify", "--evidence", path("quote"), "--collateral", path(collateral), "--trust", path("trust.json"), "--json"});
  }
  static std::string at(const json::Value& value, std::string_view path) {
    const auto dot = path.find('.');
    const auto* member = value.find(path.substr(0, dot));
    if (member == nullptr) return "absent";
    if (dot != std::string_view::npos) return at(*member, path.substr(dot + 1));
    return member->as_string() != nullptr ? *member->as_string() : json::write(*member);
  }
  /// The state of each document that `check` says, in order.
  static std::vector<std::string> states(const Ran& ran) {
    std::vector<std::string> out;
    for (const auto& one : *ran.json().find("documents")->as_array()) out.push_back(at(one, "state"));
    return out;
  }

  test::TempDir folder_;
  test::FakeClock clock_{kCreated + std::chrono::days{10}};
  test::VendorService service_;
};

TEST_F(CollateralCommand, FetchedAndExportedMakesAVerificationOffline) {
  const auto fetched = fetch({"--json"});
  ASSERT_EQ(fetched.code, kOk) << fetched.err;
  EXPECT_EQ(fetched.json().find("documents")->as_array()->size(), 4U);
  const auto exported = run({"collateral", "export", path("bundle")});
  ASSERT_EQ(exported.code, kOk) << exported.err;
  EXPECT_TRUE(fs::exists(path("bundle/manifest.json")));
  const auto verified = verify("bundle");
  EXPECT_EQ(verified.code, kOk) << verified.out << verified.err;
  EXPECT_EQ(at(verified.json(), "tcb.status"), "UpToDate");
}

TEST_F(CollateralCommand, ARaisedTcbIsSeenOnceItIsFetched) {
  ASSERT_EQ(fetch().code, kOk);
  auto raised = lab::TcbState::current(kCreated);
  for (auto& component : raised.published.levels.front().sgx) {
    if (component.svn != 0) ++component.svn;
  }
  ++raised.published.evaluation_data_number;
  clock_.advance(std::chrono::days{2});
  service_.put(machine({.tcb = raised}).collateral(clock_.now()));
  ASSERT_EQ(fetch().code, kOk);
  ASSERT_EQ(run({"collateral", "export", path("bundle")}).code, kOk);
  const auto verified = verify("bundle");
  EXPECT_EQ(verified.code, kRejected) << verified.err;
  EXPECT_EQ(at(verified.json(), "tcb.status"), "OutOfDate");
}

}  // namespace
}  // namespace cloister::cli
