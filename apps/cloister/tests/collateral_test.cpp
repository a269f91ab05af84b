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
    const Bytes program(5000, 0x33);
    const std::vector<measure::TdFile> files{{"cloister-guest", 0755, program}};
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
  static json::Array documents(const Ran& ran) {
    const auto value = ran.json();
    const auto* list = value.find("documents");
    EXPECT_NE(list, nullptr);
    return list == nullptr ? json::Array{} : *list->as_array();
  }
  /// The state of each document that `check` says, in order.
  static std::vector<std::string> states(const Ran& ran) {
    std::vector<std::string> out;
    for (const auto& one : documents(ran)) out.push_back(at(one, "state"));
    return out;
  }

  test::TempDir folder_;
  test::FakeClock clock_{kCreated + std::chrono::days{10}};
  test::VendorService service_;
};

TEST_F(CollateralCommand, FetchedAndExportedMakesAVerificationOffline) {
  const auto fetched = fetch({"--json"});
  ASSERT_EQ(fetched.code, kOk) << fetched.err;
  EXPECT_EQ(documents(fetched).size(), 4U);
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

TEST_F(CollateralCommand, FetchesOnlyWhatIsDue) {
  ASSERT_EQ(fetch().code, kOk);
  const auto again = fetch({"--json"});
  ASSERT_EQ(again.code, kOk);
  for (const auto& one : documents(again)) EXPECT_EQ(at(one, "fetched"), "false");
  EXPECT_EQ(service_.requests(), 4);
}

TEST_F(CollateralCommand, FetchSaysWhatItDoesAndWhatIsWrong) {
  const auto fetched = fetch();
  EXPECT_NE(fetched.err.find("[1/4] tcb_info/tdx/"), std::string::npos) << fetched.err;
  clock_.advance(std::chrono::days{31});
  service_.fault = [](const http::Request&) {
    http::Response limited;
    limited.status = 429;
    limited.headers.set("Retry-After", "60");
    return limited;
  };
  const auto limited = fetch();
  EXPECT_EQ(limited.code, kFailed);
  EXPECT_TRUE(limited.out.find("tcb_info") == std::string::npos) << limited.out;
  EXPECT_NE(limited.err.find("rate_limited"), std::string::npos) << limited.err;
  EXPECT_NE(limited.err.find("--wait"), std::string::npos) << limited.err;
}

TEST_F(CollateralCommand, FetchTakesKeysAndRefusesOthers) {
  const std::vector<std::string> base{"collateral", "fetch", "--url", service_.url(), "--wait", "0"};
  const auto with = [&](std::vector<std::string> more) {
    auto all = base;
    all.insert(all.end(), more.begin(), more.end());
    return run(std::move(all));
  };
  EXPECT_EQ(with({"--key", "root_ca_crl"}).code, kOk);
  EXPECT_EQ(with({"--key", "pck_crl/processor"}).code, kFailed);  // the service does not have it
  EXPECT_EQ(with({"--key", "else"}).code, kFailed);
  EXPECT_EQ(with({}).code, kFailed);
  EXPECT_EQ(with({"--key", "root_ca_crl", "--url", "ftp://x"}).code, kFailed);
  write("words", "no evidence");
  EXPECT_NE(with({"--evidence", path("words")}).err.find("evidence_unsupported"), std::string::npos);
}

TEST_F(CollateralCommand, GetsWhatAnSnpReportNeeds) {
  CLOISTER_VECTORS_OR_SKIP(vectors);
  const auto folder = vectors / "attestation/snp";
  auto found = collateral::documents_of({{"vcek", test::read_file(folder / "tav/milan_vcek.pem")},
                                         {"roots", test::read_file(folder / "roots/milan_ask_ark_asvk.pem")}});
  ASSERT_TRUE(found.ok());
  for (auto& document : found->documents) service_.documents.put(document);
  const auto report = (folder / "tav/milan_attestation_report.bin").string();
  const auto fetched = run({"collateral", "fetch", "--evidence", report, "--product", "Milan", "--kds-url", service_.url(), "--wait", "0", "--json"});
  // AMD's list of revoked authorities is the one thing that the service does not have.
  EXPECT_EQ(fetched.code, kFailed);
  EXPECT_NE(fetched.err.find("amd_crl/vcek/Milan"), std::string::npos) << fetched.err;
  ASSERT_EQ(documents(fetched).size(), 2U);
  EXPECT_EQ(at(documents(fetched)[0], "kind"), "vcek");
  const auto checked = run({"collateral", "check", "--evidence", report, "--product", "Milan", "--json"});
  EXPECT_EQ(checked.code, kRejected);
  EXPECT_EQ(states(checked), (std::vector<std::string>{"good", "good", "missing"}));
}

TEST_F(CollateralCommand, CarriesABundleToAnotherCache) {
  ASSERT_EQ(fetch().code, kOk);
  ASSERT_EQ(run({"collateral", "export", path("bundle"), "--evidence", path("quote")}).code, kOk);
  const auto imported = run({"collateral", "import", path("bundle"), "--cache", path("other"), "--json"});
  ASSERT_EQ(imported.code, kOk) << imported.err;
  EXPECT_EQ(documents(imported).size(), 4U);
  EXPECT_EQ(run({"collateral", "check", "--cache", path("other"), "--evidence", path("quote")}).code, kOk);
  EXPECT_EQ(run({"collateral", "import", path("bundle"), "--cache", path("other")}).code, kOk);  // again: nothing older
}

TEST_F(CollateralCommand, ImportKeepsWhatIsNewer) {
  write("old.json", evidence::write_quote_collateral(machine().collateral(clock_.now())));
  clock_.advance(std::chrono::hours{1});
  service_.put(machine().collateral(clock_.now()));
  ASSERT_EQ(fetch().code, kOk);
  const auto imported = run({"collateral", "import", path("old.json")});
  EXPECT_EQ(imported.code, kFailed);
  EXPECT_NE(imported.err.find("collateral_outdated"), std::string::npos) << imported.err;
  EXPECT_EQ(run({"collateral", "import", path("absent")}).code, kFailed);
  EXPECT_EQ(run({"collateral", "import", path("trust.json")}).code, kFailed);
}

TEST_F(CollateralCommand, ListHasKindKeyAndDates) {
  EXPECT_EQ(run({"collateral", "list"}).out, "");
  ASSERT_EQ(fetch().code, kOk);
  const auto listed = run({"collateral", "list", "--json"});
  ASSERT_EQ(listed.code, kOk);
  const auto all = documents(listed);
  ASSERT_EQ(all.size(), 4U);
  EXPECT_EQ(at(all.back(), "kind"), "tcb_info");
  EXPECT_TRUE(at(all.back(), "key").starts_with("tcb_info/tdx/"));
  EXPECT_EQ(at(all.back(), "issued"), to_rfc3339(clock_.now()));
  EXPECT_EQ(at(all.back(), "expires"), to_rfc3339(clock_.now() + std::chrono::days{30}));
  EXPECT_EQ(at(all.back(), "source"), service_.url());
  EXPECT_NE(run({"collateral", "list"}).out.find("root_ca_crl"), std::string::npos);
}

TEST_F(CollateralCommand, CheckSaysWhatIsMissingExpiresSoonOrIsOver) {
  const auto check = [this](std::vector<std::string> more = {}) {
    std::vector<std::string> all{"collateral", "check", "--evidence", path("quote"), "--json"};
    all.insert(all.end(), more.begin(), more.end());
    return run(std::move(all));
  };
  const auto missing = check();
  EXPECT_EQ(missing.code, kRejected);
  EXPECT_EQ(states(missing), (std::vector<std::string>(4, "missing")));
  ASSERT_EQ(fetch().code, kOk);
  EXPECT_EQ(check().code, kOk);
  EXPECT_EQ(states(check()), (std::vector<std::string>(4, "good")));
  const auto soon = check({"--within", "31"});
  EXPECT_EQ(soon.code, kOk);
  EXPECT_EQ(states(soon), (std::vector<std::string>{"expires_soon", "expires_soon", "expires_soon", "good"}));  // the root's CRL has a year
  const auto later = check({"--at", to_rfc3339(clock_.now() + std::chrono::days{30})});
  EXPECT_EQ(later.code, kRejected);
  EXPECT_EQ(states(later), (std::vector<std::string>{"expired", "expired", "expired", "good"}));
  EXPECT_EQ(states(check({"--at", to_rfc3339(clock_.now() - std::chrono::hours{1})})).front(), "not_yet_valid");
  EXPECT_EQ(check({"--at", "noon"}).code, kFailed);
  for (const auto& file : fs::directory_iterator{path("cache/cloister/collateral")}) std::ofstream{file.path()} << "{";
  const auto damaged = check();
  EXPECT_EQ(damaged.code, kRejected);
  EXPECT_EQ(states(damaged), (std::vector<std::string>(4, "damaged")));
  EXPECT_EQ(run({"collateral", "export", path("bundle")}).code, kFailed);
}

TEST_F(CollateralCommand, ExportRefusesWhatIsNotThere) {
  EXPECT_EQ(run({"collateral", "export", path("bundle")}).code, kFailed);
  EXPECT_EQ(run({"collateral", "export", path("bundle"), "--key", "root_ca_crl"}).code, kFailed);
  EXPECT_FALSE(fs::exists(path("bundle")));
}

}  // namespace
}  // namespace cloister::cli
