#include "cloister/collateral_cache/cache.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <future>
#include <stdexcept>
#include <thread>

#include "cloister/attestation/verify_snp.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/collateral_cache/source.hpp"
#include "support/openssl_server.hpp"
#include "support/support.hpp"
#include "support/synthetic_platform.hpp"
#include "support/synthetic_snp.hpp"
#include "support/vendor_service.hpp"

namespace cloister::collateral_cache {
namespace {

using namespace std::chrono_literals;
using namespace collateral;
using evidence::TeeType;
using test::RawService;
using test::SyntheticPlatform;
using test::VendorService;

/// The time at which a synthetic platform's documents begin, and what is left of them then.
const UnixTime kNow = SyntheticPlatform::now();

Key key_of(std::string_view text) { return parse_key(text).value(); }
const Key kTcb = key_of("tcb_info/tdx/90c06f000000");
const Key kIdentity = key_of("qe_identity/td_qe");
const Key kPckCrl = key_of("pck_crl/platform");
const Key kRootCrl = key_of("root_ca_crl");

Endpoint endpoint(const std::string& url, Endpoint::Kind kind = Endpoint::Kind::pcs) { return parse_endpoint(kind, url).value(); }

/// A platform whose documents were issued at `issued` and live for 30 days.
evidence::QuoteCollateral issued_at(UnixTime issued, std::uint32_t evaluation = 17) {
  SyntheticPlatform platform;
  platform.tcb_info.issue_date = platform.qe_identity.issue_date = issued;
  platform.tcb_info.next_update = platform.qe_identity.next_update = issued + std::chrono::days{30};
  platform.tcb_info.tcb_evaluation_data_number = platform.qe_identity.tcb_evaluation_data_number = evaluation;
  platform.root_crl.this_update = platform.pck_crl.this_update = issued;
  platform.root_crl.next_update = platform.pck_crl.next_update = issued + std::chrono::days{30};
  return platform.build().collateral;
}

class CacheTest : public testing::Test {
 protected:
  CacheTest() {
    service_.put(issued_at(kNow));
    options_.endpoints = {endpoint(service_.url())};
    restart();
  }
  /// A cache that knows nothing but what is on disk.
  void restart() {
    cache_.reset();
    auto opened = Store::open(folder_.path() / "cache", limits_);
    ASSERT_TRUE(opened.ok()) << opened.error().text();
    store_ = std::move(*opened);
    cache_ = std::make_unique<Cache>(*store_, &transport_, clock_, logger_, options_);
  }
  Held get(const Key& key, Need need = Need::current) {
    auto held = cache_->get(key, need);
    EXPECT_TRUE(held.ok()) << held.error().text();
    return held ? *held : Held{};
  }
  void expect_refused(const Key& key, Errc code, std::string_view part = {}) {
    const auto held = cache_->get(key, Need::current);
    ASSERT_FALSE(held.ok());
    EXPECT_EQ(to_string(held.error().code()), to_string(code)) << held.error().detail();
    EXPECT_THAT(held.error().detail(), testing::HasSubstr(std::string{part}));
    // Nothing of it stays.
    const auto stored = store_->find(key);
    ASSERT_TRUE(stored.ok());
    EXPECT_FALSE(stored->has_value());
  }
  static http::Response status(int code, std::vector<std::pair<std::string, std::string>> headers = {}) {
    http::Response out;
    out.status = code;
    for (auto& [name, value] : headers) out.headers.set(name, value);
    return out;
  }

  test::TempDir folder_;
  test::FakeClock clock_{kNow + 1h};
  log::NullLogger logger_;
  VendorService service_;
  HttpTransport transport_{{.ca_pem = {}, .timeout = 10s}};
  StoreLimits limits_;
  CacheOptions options_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<Cache> cache_;
};

// --- fetching and keeping ---

TEST_F(CacheTest, FetchesOnceAndGivesWhatItHas) {
  const auto first = get(kTcb);
  EXPECT_TRUE(first.fetched);
  EXPECT_EQ(first.entry->document.evaluation_number, 17U);
  EXPECT_EQ(first.entry->document.expires, kNow + std::chrono::days{30});
  EXPECT_EQ(first.entry->source, service_.url());
  EXPECT_FALSE(get(kTcb).fetched);
  EXPECT_EQ(service_.requests(), 1);
}

TEST_F(CacheTest, HasEveryKindOfIntelsFromVersion4And3) {
  for (const auto& key : {kTcb, kIdentity, kPckCrl, kRootCrl}) EXPECT_TRUE(get(key).fetched) << to_string(key);
  SyntheticPlatform sgx{TeeType::sgx, 3};
  service_.put(sgx.build().collateral);
  options_.endpoints = {endpoint(service_.url() + "/sgx/certification/v3/")};
  restart();
  EXPECT_TRUE(get(key_of("tcb_info/sgx/" + codec::to_hex(sgx.tcb_info.fmspc))).fetched);
  EXPECT_TRUE(get(key_of("qe_identity/qe")).fetched);
  EXPECT_FALSE(get(kPckCrl).fetched);  // the same document, whichever version it came by
}

TEST_F(CacheTest, OutlivesARestart) {
  const auto before = get(kTcb);
  restart();
  const auto after = get(kTcb);
  EXPECT_FALSE(after.fetched);
  EXPECT_EQ(*after.entry, *before.entry);
  EXPECT_EQ(service_.requests(), 1);
}

TEST_F(CacheTest, SeesWhatAnotherProcessFetched) {
  auto other_store = Store::open(folder_.path() / "cache").value();
  Cache other{*other_store, &transport_, clock_, logger_, options_};
  ASSERT_TRUE(other.get(kTcb, Need::current).ok());
  EXPECT_FALSE(get(kTcb).fetched);
  EXPECT_EQ(service_.requests(), 1);
}

TEST_F(CacheTest, FetchesADamagedEntryAnew) {
  (void)get(kTcb);
  const auto file = store_->list()->front().file;
  std::ofstream{file, std::ios::trunc} << "{\"version\":1";
  restart();
  EXPECT_TRUE(get(kTcb).fetched);
  EXPECT_TRUE(store_->find(kTcb).ok());
}

TEST_F(CacheTest, WithoutAServiceGivesOnlyWhatIsThere) {
  (void)get(kTcb);
  options_.endpoints.clear();
  restart();
  EXPECT_FALSE(get(kTcb).fetched);
  expect_refused(kIdentity, Errc::collateral_missing, "no service is configured");
}

TEST_F(CacheTest, IsAVerifiersSource) {
  const CachedCollateral source{*cache_};
  const SyntheticPlatform platform;
  const auto wanted = wanted_by(*evidence::parse_quote(platform.build().quote));
  const auto found = source.find(wanted);
  ASSERT_TRUE(found.ok()) << found.error().text();
  EXPECT_TRUE(evidence::parse_documents(*found).ok());
  EXPECT_EQ(service_.requests(), 4);
  EXPECT_TRUE(source.find(wanted).ok());
  EXPECT_EQ(service_.requests(), 4);
}

// --- one flight ---

TEST_F(CacheTest, ConcurrentCallsForOneKeyMakeOneFetch) {
  service_.close_gate();
  std::vector<std::future<bool>> calls;
  for (int i = 0; i < 8; ++i) {
    calls.push_back(std::async(std::launch::async, [this] {
      const auto held = cache_->get(kTcb, Need::current);
      return held.ok() && held->entry->document.key == kTcb;
    }));
  }
  ASSERT_TRUE(service_.wait_for_requests(1));
  service_.open_gate();
  for (auto& call : calls) EXPECT_TRUE(call.get());
  EXPECT_EQ(service_.requests(), 1);
}

TEST_F(CacheTest, ConcurrentCallsShareAFailureToo) {
  service_.fault = [](const http::Request&) { return status(404); };
  service_.close_gate();
  auto first = std::async(std::launch::async, [this] { return cache_->get(kTcb, Need::current); });
  ASSERT_TRUE(service_.wait_for_requests(1));
  auto second = std::async(std::launch::async, [this] { return cache_->get(kTcb, Need::current); });
  service_.open_gate();
  EXPECT_EQ(first.get().error().code(), Errc::collateral_missing);
  EXPECT_EQ(second.get().error().code(), Errc::collateral_missing);
}

TEST_F(CacheTest, AFetchThatThrowsLeavesNobodyWaiting) {
  struct Throwing final : Transport {
    Result<Answer> get(const Request&) override { throw std::runtime_error{"out of something"}; }
  } transport;
  Cache cache{*store_, &transport, clock_, logger_, options_};
  EXPECT_THROW((void)cache.get(kTcb, Need::current), std::runtime_error);
  EXPECT_THROW((void)cache.get(kTcb, Need::current), std::runtime_error);  // and not: waits for the first
}

TEST_F(CacheTest, KeysDoNotWaitForEachOther) {
  (void)get(kIdentity);
  service_.close_gate();
  auto slow = std::async(std::launch::async, [this] { return cache_->get(kTcb, Need::current); });
  ASSERT_TRUE(service_.wait_for_requests(2));
  EXPECT_FALSE(get(kIdentity).fetched);  // while the other is under way
  service_.open_gate();
  EXPECT_TRUE(slow.get().ok());
}

TEST_F(CacheTest, ManyThreadsAndKeysMakeOneFetchEach) {
  std::vector<std::future<bool>> calls;
  const std::vector<Key> keys{kTcb, kIdentity, kPckCrl, kRootCrl};
  for (std::size_t i = 0; i < 24; ++i) {
    calls.push_back(std::async(std::launch::async, [this, key = keys[i % keys.size()]] { return cache_->get(key, Need::valid).ok(); }));
  }
  for (auto& call : calls) EXPECT_TRUE(call.get());
  EXPECT_EQ(service_.requests(), 4);
}

// --- refreshing ---

TEST_F(CacheTest, AsksAgainWithTheServicesValidatorsOnceADocumentIsDue) {
  (void)get(kTcb);
  clock_.advance(25h);
  EXPECT_FALSE(get(kTcb, Need::valid).fetched);  // good enough for a verification
  const auto again = get(kTcb, Need::current);
  EXPECT_TRUE(again.fetched);
  EXPECT_EQ(service_.not_modified(), 1);
  EXPECT_EQ(again.entry->checked, clock_.now());
  EXPECT_FALSE(get(kTcb, Need::current).fetched);
  EXPECT_EQ(service_.requests(), 2);
}

TEST_F(CacheTest, TakesTheNewerDocumentAheadOfTheEnd) {
  (void)get(kTcb);
  clock_.advance(std::chrono::days{28});
  service_.put(issued_at(kNow + std::chrono::days{27}, 18));
  const auto again = get(kTcb);
  EXPECT_EQ(again.entry->document.evaluation_number, 18U);
  EXPECT_FALSE(again.stale);
  EXPECT_EQ(service_.not_modified(), 0);
}

TEST_F(CacheTest, RefreshesEverythingThatIsDue) {
  for (const auto& key : {kTcb, kIdentity, kPckCrl, kRootCrl}) (void)get(key);
  EXPECT_EQ(*cache_->refresh(), 0U);
  EXPECT_EQ(service_.requests(), 4);
  clock_.advance(25h);
  EXPECT_EQ(*cache_->refresh(), 0U);
  EXPECT_EQ(service_.requests(), 8);
  clock_.advance(25h);
  service_.fault = [](const http::Request&) { return status(500); };
  EXPECT_EQ(*cache_->refresh(), 4U);
}

TEST_F(CacheTest, KeepsAGoodDocumentWhenAskingAgainFails) {
  (void)get(kTcb);
  clock_.advance(25h);
  service_.fault = [](const http::Request&) { return status(503); };
  const auto again = get(kTcb);
  EXPECT_FALSE(again.fetched);
  EXPECT_FALSE(again.stale);
  ASSERT_TRUE(again.error.has_value());
  EXPECT_EQ(again.error->code(), Errc::unavailable);
}

TEST_F(CacheTest, DoesNotTakeNotModifiedForADocumentThatItDidNotAskToKeep) {
  service_.fault = [](const http::Request&) { return status(304); };
  expect_refused(kTcb, Errc::unsupported);
}

TEST_F(CacheTest, DoesNotTakeAnOlderDocument) {
  service_.put(issued_at(kNow, 18));
  (void)get(kTcb);
  clock_.advance(25h);
  service_.put(issued_at(kNow - 24h, 18));
  const auto older = get(kTcb);
  ASSERT_TRUE(older.error.has_value());
  EXPECT_EQ(older.error->code(), Errc::collateral_outdated);
  EXPECT_EQ(older.entry->document.issued, kNow);
  clock_.advance(1h);
  service_.put(issued_at(kNow + 1h, 17));
  const auto lower = get(kTcb);
  ASSERT_TRUE(lower.error.has_value());
  EXPECT_EQ(lower.error->code(), Errc::collateral_outdated);
  EXPECT_EQ(lower.entry->document.evaluation_number, 18U);
}

// --- the end, and the grace ---

TEST_F(CacheTest, GivesNothingThatIsOverByDefault) {
  (void)get(kTcb);
  service_.fault = [](const http::Request&) { return status(503); };
  clock_.set(kNow + std::chrono::days{30});
  const auto held = cache_->get(kTcb, Need::valid);
  ASSERT_FALSE(held.ok());
  EXPECT_EQ(held.error().code(), Errc::unavailable);
}

TEST_F(CacheTest, GivesWhatIsOverOnlyWithinAGraceAndSaysSo) {
  options_.freshness.grace = 48h;
  restart();
  (void)get(kTcb);
  service_.fault = [](const http::Request&) { return status(503); };
  clock_.set(kNow + std::chrono::days{32} - 1s);
  const auto held = get(kTcb, Need::valid);
  EXPECT_TRUE(held.stale);
  ASSERT_TRUE(held.error.has_value());
  EXPECT_EQ(held.error->code(), Errc::unavailable);
  clock_.set(kNow + std::chrono::days{32});
  EXPECT_FALSE(cache_->get(kTcb, Need::valid).ok());
}

TEST_F(CacheTest, PrefersANewDocumentToTheGrace) {
  options_.freshness.grace = 48h;
  restart();
  (void)get(kTcb);
  clock_.set(kNow + std::chrono::days{31});
  service_.put(issued_at(kNow + std::chrono::days{30}));
  EXPECT_FALSE(get(kTcb, Need::valid).stale);
}

// --- back-off ---

TEST_F(CacheTest, HonoursRetryAfterInSeconds) {
  service_.fault = [](const http::Request&) { return status(429, {{"Retry-After", "90"}}); };
  expect_refused(kTcb, Errc::rate_limited);
  service_.fault = nullptr;
  EXPECT_EQ(cache_->asks_again_at(kTcb), clock_.now() + 90s);
  clock_.advance(89s);
  expect_refused(kIdentity, Errc::rate_limited, "asked again at");  // the limit is the service's, whatever is asked
  EXPECT_EQ(service_.requests(), 1);
  clock_.advance(1s);
  EXPECT_EQ(cache_->asks_again_at(kTcb), std::nullopt);
  EXPECT_TRUE(get(kTcb).fetched);
}

TEST_F(CacheTest, HonoursRetryAfterAsADate) {
  const auto until = to_http_date(clock_.now() + 10min);
  service_.fault = [&](const http::Request&) { return status(503, {{"Retry-After", until}}); };
  expect_refused(kTcb, Errc::unavailable);
  EXPECT_EQ(cache_->asks_again_at(kTcb), clock_.now() + 10min);
}

TEST_F(CacheTest, WaitsTwiceAsLongAfterEachFailure) {
  service_.fault = [](const http::Request&) { return status(500); };
  int asked = 0;
  for (const auto wait : {1s, 2s, 4s, 8s}) {
    expect_refused(kTcb, Errc::unavailable);
    EXPECT_EQ(service_.requests(), ++asked);
    clock_.advance(wait - 1ms);
    expect_refused(kTcb, Errc::rate_limited);
    EXPECT_EQ(service_.requests(), asked);
    clock_.advance(1ms);
  }
  service_.fault = nullptr;
  EXPECT_TRUE(get(kTcb).fetched);  // and is trusted again
  service_.fault = [](const http::Request&) { return status(500); };
  expect_refused(kIdentity, Errc::unavailable);
  EXPECT_EQ(cache_->asks_again_at(kIdentity), clock_.now() + 1s);
}

TEST_F(CacheTest, AMissingDocumentIsNoReasonToWait) {
  service_.fault = [](const http::Request&) { return status(404); };
  expect_refused(kTcb, Errc::collateral_missing);
  service_.fault = nullptr;
  EXPECT_TRUE(get(kTcb).fetched);  // nor is it remembered
}

// --- several services ---

TEST_F(CacheTest, AsksTheNextServiceWhenOneFails) {
  VendorService second;
  second.put(issued_at(kNow));
  options_.endpoints.push_back(endpoint(second.url()));
  for (const int code : {500, 429, 404, 302}) {
    restart();
    std::filesystem::remove_all(folder_.path() / "cache");
    restart();
    service_.fault = [code](const http::Request&) { return status(code); };
    EXPECT_EQ(get(kTcb).entry->source, second.url()) << code;
  }
}

TEST_F(CacheTest, AsksTheNextServiceWhenOneIsNotThere) {
  options_.endpoints = {endpoint("http://127.0.0.1:1"), endpoint(service_.url())};
  restart();
  EXPECT_EQ(get(kTcb).entry->source, service_.url());
}

TEST_F(CacheTest, SaysWhyEachServiceFailed) {
  options_.endpoints = {endpoint("http://127.0.0.1:1"), endpoint(service_.url())};
  restart();
  service_.fault = [](const http::Request&) { return status(429); };
  const auto held = cache_->get(kTcb, Need::current);
  ASSERT_FALSE(held.ok());
  EXPECT_THAT(held.error().detail(), testing::AllOf(testing::HasSubstr("http://127.0.0.1:1: "), testing::HasSubstr("answered 429")));
}

TEST_F(CacheTest, SendsAServicesValidatorsToNoOther) {
  VendorService second;
  second.put(issued_at(kNow));
  (void)get(kTcb);
  options_.endpoints = {endpoint(second.url())};
  restart();
  clock_.advance(25h);
  std::atomic<bool> conditional{false};
  second.fault = [&](const http::Request& request) -> std::optional<http::Response> {
    conditional = request.headers.find("If-None-Match").has_value() || request.headers.find("If-Modified-Since").has_value();
    return std::nullopt;
  };
  EXPECT_TRUE(get(kTcb).fetched);
  EXPECT_FALSE(conditional);
}

// --- odd answers ---

TEST_F(CacheTest, RefusesOddAnswers) {
  struct Case {
    std::string_view name;
    Errc code;
    std::function<void(http::Response&)> alter;
  };
  const std::vector<Case> cases{
      {"content type", Errc::unsupported_media_type, [](auto& r) { r.headers.set("Content-Type", "text/html"); }},
      {"no issuer chain", Errc::missing_member,
       [](auto& r) {
         http::Headers fewer;
         for (const auto& [name, value] : r.headers.all()) {
           if (name != "TCB-Info-Issuer-Chain") fewer.add(name, value);
         }
         r.headers = fewer;
       }},
      {"an empty issuer chain", Errc::missing_member, [](auto& r) { r.headers.set("TCB-Info-Issuer-Chain", ""); }},
      {"two issuer chains", Errc::missing_member, [](auto& r) { r.headers.add("tcb-info-issuer-chain", "x"); }},
      {"a broken escape", Errc::collateral_malformed, [](auto& r) { r.headers.set("TCB-Info-Issuer-Chain", "%2"); }},
      {"a chain of nothing", Errc::collateral_malformed, [](auto& r) { r.headers.set("TCB-Info-Issuer-Chain", "x"); }},
      {"half a body", Errc::collateral_malformed, [](auto& r) { r.body.resize(r.body.size() / 2); }},
      {"more than a body", Errc::collateral_malformed, [](auto& r) { r.body.push_back('{'); }},
      {"an empty body", Errc::collateral_malformed, [](auto& r) { r.body.clear(); }},
      {"a body that is too long", Errc::limit_exceeded, [](auto& r) { r.body.resize((1U << 20) + 1, ' '); }},
      {"a redirection", Errc::unsupported, [](auto& r) { r = status(302, {{"Location", "http://127.0.0.1:1/"}}); }},
      {"not found", Errc::collateral_missing, [](auto& r) { r = status(404); }},
      {"gone", Errc::collateral_missing, [](auto& r) { r = status(410); }},
      {"an unknown platform", Errc::collateral_missing, [](auto& r) { r = status(461); }},
      {"a bad request", Errc::invalid_argument, [](auto& r) { r = status(400); }},
      {"partial content", Errc::invalid_argument, [](auto& r) { r.status = 206; }},
      {"no content", Errc::invalid_argument, [](auto& r) { r = status(204); }},
      {"a failure", Errc::unavailable, [](auto& r) { r = status(502); }},
      {"a limit", Errc::rate_limited, [](auto& r) { r = status(429); }},
  };
  for (const auto& one : cases) {
    SCOPED_TRACE(one.name);
    restart();
    service_.alter = one.alter;
    expect_refused(kTcb, one.code);
  }
}

TEST_F(CacheTest, RefusesWhatWasNotAskedFor) {
  SyntheticPlatform other;
  other.tcb_info.fmspc = other.platform->fmspc = {1, 2, 3, 4, 5, 6};
  other.authority.common_name = other.pck.issuer_name = other.pck_crl.issuer_name = "Test PCK Processor CA";
  VendorService wrong;
  wrong.put(other.build().collateral);
  wrong.put(SyntheticPlatform{TeeType::sgx, 3}.build().collateral);
  const auto gives = [&](const Key& asked, const Key& given) {
    auto document = wrong.documents.find(given);
    ASSERT_TRUE(document.has_value()) << to_string(given);
    if (document->issuer_chain.empty()) document->issuer_chain = other.build().collateral.pck_crl_issuer_chain;
    service_.fault = [&asked, document](const http::Request& request) mutable -> std::optional<http::Response> {
      collateral_service::MemoryDocuments liar;
      document->key = asked;
      liar.put(*document);
      return collateral_service::respond(liar, request);
    };
    restart();
    expect_refused(asked, Errc::collateral_mismatch, "was asked for");
  };
  gives(kTcb, key_of("tcb_info/tdx/010203040506"));
  gives(kTcb, key_of("tcb_info/sgx/" + codec::to_hex(SyntheticPlatform{TeeType::sgx, 3}.tcb_info.fmspc)));
  gives(kIdentity, key_of("qe_identity/qe"));
  gives(kPckCrl, key_of("root_ca_crl"));
  gives(kRootCrl, key_of("pck_crl/processor"));
  gives(kPckCrl, key_of("pck_crl/processor"));
  gives(key_of("tcb_info/tdx/010203040506/eval-99"), key_of("tcb_info/tdx/010203040506"));
}

TEST_F(CacheTest, RefusesADocumentThatIsOver) {
  clock_.set(kNow + std::chrono::days{30});
  expect_refused(kTcb, Errc::collateral_outdated);
}

TEST_F(CacheTest, RefusesAnswersThatBreakOff) {
  const std::vector<std::pair<std::string, Errc>> cases{
      {"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"tcb", Errc::peer_closed},
      {"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"tc", Errc::peer_closed},
      {"", Errc::peer_closed},
      {"SSH-2.0-OpenSSH\r\n\r\n", Errc::malformed},
  };
  for (const auto& [bytes, code] : cases) {
    SCOPED_TRACE(bytes);
    RawService broken{bytes};
    options_.endpoints = {endpoint(broken.url())};
    restart();
    expect_refused(kTcb, code);
  }
}

TEST_F(CacheTest, DoesNotWaitForASlowServiceForEver) {
  HttpTransport impatient{{.ca_pem = {}, .timeout = 50ms}};
  Cache cache{*store_, &impatient, clock_, logger_, options_};
  service_.close_gate();
  const auto held = cache.get(kTcb, Need::current);
  ASSERT_FALSE(held.ok());
  EXPECT_EQ(held.error().code(), Errc::deadline_exceeded) << held.error().detail();
}

// --- the folder ---

TEST_F(CacheTest, IsBounded) {
  limits_.entries = 3;
  restart();
  for (const auto& key : {kTcb, kIdentity, kPckCrl, kRootCrl}) {
    (void)get(key);
    clock_.advance(1s);
  }
  EXPECT_EQ(store_->list()->size(), 3U);
  EXPECT_FALSE(store_->find(kTcb)->has_value());  // fetched longest ago
  EXPECT_TRUE(store_->find(kRootCrl)->has_value());
}

TEST_F(CacheTest, KeepsNothingLargerThanItMayBe) {
  limits_.bytes = 1000;
  restart();
  const auto held = cache_->get(kTcb, Need::current);
  ASSERT_FALSE(held.ok());
  EXPECT_EQ(held.error().code(), Errc::limit_exceeded);
}

TEST_F(CacheTest, TakesImportedDocumentsUnlessTheyAreOlder) {
  (void)get(kTcb);
  const auto import = [this](const evidence::QuoteCollateral& whole) {
    for (auto& document : test::documents_of(whole)) {
      if (document.key == kTcb) return cache_->put(document, "import");
    }
    return Result<void>{Error{Errc::not_found}};
  };
  EXPECT_TRUE(import(issued_at(kNow + 1min)).ok());
  EXPECT_EQ(get(kTcb).entry->source, "import");
  const auto older = import(issued_at(kNow));
  ASSERT_FALSE(older.ok());
  EXPECT_EQ(older.error().code(), Errc::collateral_outdated);
}

TEST_F(CacheTest, AsksServicesThatSpeakTls12Alone) {
  const test::OpenSslServer service{{"-tls1_2"}};
  HttpTransport transport{{.ca_pem = service.pem(), .timeout = 10s}};
  const auto answer = transport.get({.origin = service.url(), .target = "/answer", .headers = {}, .max_body = 1024});
  ASSERT_TRUE(answer.ok()) << answer.error().text();
  EXPECT_EQ(as_text(answer->body), "ok");
  HttpTransport untrusting{{.ca_pem = {}, .timeout = 10s}};
  EXPECT_EQ(untrusting.get({.origin = service.url(), .target = "/answer", .headers = {}, .max_body = 1024}).error().code(),
            Errc::certificate_refused);
}

// --- AMD: real certificates ---

class KdsTest : public CacheTest {
 protected:
  static Document vcek(ByteView der) {
    auto found = documents_of({{"vcek", to_bytes(der)}});
    EXPECT_TRUE(found.ok());
    EXPECT_EQ(found->documents.size(), 1U);
    return found->documents.front();
  }
  void use_kds() {
    options_.endpoints = {endpoint(service_.url(), Endpoint::Kind::kds)};
    restart();
  }
};

TEST_F(KdsTest, AChipsCertificateIsFetchedOnceEver) {
  CLOISTER_VECTORS_OR_SKIP(vectors);
  const auto document = vcek(test::read_file(vectors / "attestation/snp/virtee/vcek_turin.der"));
  EXPECT_EQ(std::get<VcekKey>(document.key).product, Product::turin);
  service_.documents.put(document);
  clock_.set(document.issued + std::chrono::days{1});
  use_kds();
  EXPECT_TRUE(get(document.key).fetched);
  clock_.set(document.issued + std::chrono::days{6 * 365});
  restart();
  EXPECT_FALSE(get(document.key).fetched);
  EXPECT_EQ(*cache_->refresh(), 0U);
  EXPECT_EQ(service_.requests(), 1);
}

TEST_F(KdsTest, RefusesAnotherChipsOrAnotherTcbsCertificate) {
  CLOISTER_VECTORS_OR_SKIP(vectors);
  const auto document = vcek(test::read_file(vectors / "attestation/snp/trustee/test-vcek.der"));
  clock_.set(document.issued + std::chrono::days{1});
  use_kds();
  service_.fault = [&](const http::Request&) { return http::bytes_response("application/pkix-cert", document.body); };
  auto other_tcb = std::get<VcekKey>(document.key);
  ++other_tcb.tcb.microcode;
  expect_refused(other_tcb, Errc::collateral_mismatch);
  auto other_chip = std::get<VcekKey>(document.key);
  other_chip.hwid[0] ^= 1;
  restart();
  expect_refused(other_chip, Errc::collateral_mismatch);
}

/// A chip whose every document the service has.
class ChipTest : public KdsTest {
 protected:
  ChipTest() {
    for (auto& document : test::documents_of(built_.endorsements)) service_.documents.put(std::move(document));
    clock_.set(test::SyntheticSnp::now());
    use_kds();
  }
  [[nodiscard]] evidence::SnpReport report() const { return *evidence::parse_snp_report(built_.report); }
  [[nodiscard]] bool verifies(const evidence::SnpEndorsements& endorsements) const {
    attestation::TrustAnchors anchors;
    anchors.add(*attestation::TrustAnchor::make(built_.root, attestation::AnchorKind::given));
    const auto outcome = attestation::verify(report(), endorsements, anchors, test::SyntheticSnp::now());
    return outcome.evidence && outcome.report.check(attestation::CheckId::vek_revocation).result == attestation::CheckResult::pass;
  }

  test::SyntheticSnp chip_ = test::milan_chip();
  test::SyntheticSnpEvidence built_ = chip_.build();
};

TEST_F(ChipTest, IsAVerifiersSourceForReportsAlone) {
  const CachedCollateral source{*cache_};
  const auto found = source.find(report(), {});
  ASSERT_TRUE(found.ok()) << found.error().text();
  EXPECT_TRUE(verifies(*found));
  EXPECT_EQ(service_.requests(), 3);
  // The next report of this chip, also after a restart, and long after the list is due: its certificate is here.
  chip_.body.report_data.fill(7);
  const auto next = *evidence::parse_snp_report(chip_.build().report);
  EXPECT_TRUE(source.find(next, {}).ok());
  EXPECT_EQ(service_.requests(), 3);
  restart();
  clock_.advance(std::chrono::days{20});
  EXPECT_EQ(*cache_->refresh(), 0U);  // the list
  EXPECT_TRUE(CachedCollateral{*cache_}.find(next, {}).ok());
  EXPECT_EQ(service_.requests(), 4);
}

TEST_F(ChipTest, FetchesWhatWasNotGivenAlone) {
  const CachedCollateral source{*cache_};
  const auto& all = built_.endorsements;
  EXPECT_TRUE(source.find(report(), all)->certificates.empty());
  EXPECT_EQ(service_.requests(), 0);
  auto list = source.find(report(), {all.certificates, {}});
  ASSERT_TRUE(list.ok()) << list.error().text();
  EXPECT_TRUE(list->certificates.empty());
  EXPECT_EQ(list->crls.size(), 1U);
  EXPECT_EQ(service_.requests(), 1);
  auto chain = source.find(report(), {{all.certificates[0]}, {}});
  ASSERT_TRUE(chain.ok()) << chain.error().text();
  chain->certificates.push_back(all.certificates[0]);
  EXPECT_TRUE(verifies(*chain));
  EXPECT_EQ(service_.requests(), 2);
}

TEST_F(ChipTest, RefusesWhatTheServiceDoesNotHave) {
  chip_.body.chip_id[0] ^= 1;
  const auto other = *evidence::parse_snp_report(chip_.build().report);
  const CachedCollateral source{*cache_};
  EXPECT_EQ(source.find(other, {}).error().code(), Errc::collateral_missing);
  service_.fault = [](const http::Request&) { return std::optional{status(503)}; };
  EXPECT_EQ(source.find(report(), {}).error().code(), Errc::unavailable);
}

TEST_F(KdsTest, HasTheChainsOfBothKinds) {
  CLOISTER_VECTORS_OR_SKIP(vectors);
  auto found = documents_of({{"roots", test::read_file(vectors / "attestation/snp/roots/milan_ask_ark_asvk.pem")}});
  ASSERT_TRUE(found.ok()) << found.error().text();
  ASSERT_EQ(found->documents.size(), 2U);
  for (auto& document : found->documents) service_.documents.put(document);
  use_kds();
  EXPECT_TRUE(get(key_of("amd_chain/vcek/Milan")).fetched);
  EXPECT_TRUE(get(key_of("amd_chain/vlek/Milan")).fetched);
  expect_refused(key_of("amd_chain/vcek/Genoa"), Errc::collateral_missing);
}

}  // namespace
}  // namespace cloister::collateral_cache
