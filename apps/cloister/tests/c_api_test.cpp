#include <gtest/gtest.h>

#include <cstdlib>
#include <sstream>

#include "cli.hpp"
#include "cloister/codec/json.hpp"
#include "cloister/core/time.hpp"
#include "cloister_verify.h"
#include "support/support.hpp"

/// The library for C and the command are two ways to one object.
namespace cloister::cli {
namespace {

namespace json = codec::json;

json::Value object_of(std::string_view text) {
  auto value = json::parse(text);
  EXPECT_TRUE(value.ok()) << text;
  return value ? *std::move(value) : json::Value{};
}

TEST(VerifyForC, GivesTheObjectThatTheCommandPrints) {
  CLOISTER_VECTORS_OR_SKIP(folder);
  const test::TempDir nothing;
  ::setenv("XDG_CONFIG_HOME", nothing.path().c_str(), 1);
  const auto base = folder / "attestation/dcap-cases";
  const auto cases = object_of(test::read_text(base / "cases.json"));
  std::size_t compared = 0;
  for (const auto& one : *cases.as_array()) {
    const auto quote = base / *one.find("quote")->as_string();
    const auto bundle = base / *one.find("bundle")->as_string();
    const auto time = *one.find("time")->as_int();
    std::ostringstream out;
    std::ostringstream err;
    const SystemClock clock;
    const auto exit = run({"verify", "--json", "--evidence", quote.string(), "--collateral", bundle.string(), "--at",
                           to_rfc3339(UnixTime{std::chrono::seconds{time}})},
                          out, err, clock);

    const auto evidence = test::read_file(quote);
    const auto collateral = test::read_file(bundle);
    const cloister_verify_document document{nullptr, {collateral.data(), collateral.size()}};
    cloister_verify_request request{};
    request.struct_size = sizeof request;
    request.evidence = {evidence.data(), evidence.size()};
    request.collateral = &document;
    request.collateral_count = 1;
    request.time = time;
    char* result = nullptr;
    EXPECT_EQ(cloister_verify_evidence(&request, &result), exit);
    ASSERT_NE(result, nullptr);
    EXPECT_EQ(object_of(result), object_of(out.str())) << *one.find("id")->as_string();
    cloister_verify_free(result);
    ++compared;
  }
  ::unsetenv("XDG_CONFIG_HOME");
  EXPECT_GE(compared, 45U);
}

}  // namespace
}  // namespace cloister::cli
