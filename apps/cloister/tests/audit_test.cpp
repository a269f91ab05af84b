// `audit verify`, `list` and `show` of exports on this disk: exit codes, and what is said, of a log whose key is known here.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "cli.hpp"
#include "cloister/codec/json.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/policy/trust_file.hpp"
#include "support/support.hpp"
#include "../../../src/merkle/fuzz/known_log.hpp"

namespace cloister::cli {
namespace {

namespace json = codec::json;
using merkle::known::joined;
using ::testing::HasSubstr;

struct Ran {
  int code = 0;
  std::string out;
  std::string err;
  [[nodiscard]] std::string error() const {
    const auto value = json::parse(out);
    const auto* error = value ? value->find("error") : nullptr;
    return error == nullptr ? out + err : *error->find("code")->as_string();
  }
};

class AuditCommand : public ::testing::Test {
 protected:
  AuditCommand() { ::setenv("XDG_CONFIG_HOME", (folder_.path() / "config").c_str(), 1); }
  ~AuditCommand() override { ::unsetenv("XDG_CONFIG_HOME"); }

  [[nodiscard]] static Ran run(std::vector<std::string> arguments) {
    const test::FakeClock clock{from_micros(1'800'000'000'000'000)};
    std::ostringstream out;
    std::ostringstream err;
    const int code = cli::run(std::move(arguments), out, err, clock);
    return {code, out.str(), err.str()};
  }
  std::string write(const std::string& name, std::string_view text) const {
    std::ofstream{folder_.path() / name, std::ios::binary} << text;
    return (folder_.path() / name).string();
  }
  std::string write_head(const std::string& name, const merkle::SignedHead& head) const {
    return write(name, json::write(merkle::head_json(head, log_.key.public_key())));
  }
  [[nodiscard]] Ran verify(std::vector<std::string> more) const {
    std::vector<std::string> arguments{"audit", "verify", "--json", "--key", codec::to_hex(log_.key.public_key())};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run(std::move(arguments));
  }

  test::TempDir folder_;
  merkle::known::Log log_;
};

TEST_F(AuditCommand, AcceptsAWholeLogAndSaysWhatItDidNotCheck) {
  const auto file = write("log.jsonl", joined(log_.lines()));
  const auto ran = verify({file});
  EXPECT_EQ(ran.code, kOk) << ran.out << ran.err;
  const auto answer = json::parse(ran.out).value();
  EXPECT_EQ(*answer.find("verdict")->as_string(), "accepted");
  EXPECT_EQ(*answer.find("completeness")->as_string(), "not checked");
  EXPECT_TRUE(answer.find("complete_to")->is_null());
  EXPECT_EQ(answer.find("size")->as_int(), 11);
  EXPECT_EQ(*answer.find("rollback")->find("kind")->as_string(), "log.rollback");
  // The answer itself is a head that can be kept.
  EXPECT_EQ(merkle::read_kept_head(as_bytes(ran.out)).value(), log_.head(11));
  const auto kept = verify({file, "--head", write("answer.json", ran.out), "--head", write_head("old.json", log_.head(3))});
  ASSERT_EQ(kept.code, kOk) << kept.out << kept.err;
  EXPECT_EQ(*json::parse(kept.out)->find("completeness")->as_string(), "checked");
  EXPECT_EQ(json::parse(kept.out)->find("complete_to")->as_int(), 11);
  EXPECT_EQ(verify({file, "--head", write("head.cbor", as_text(merkle::encode(log_.head(8))))}).code, kOk);
  EXPECT_THAT(run({"audit", "verify", file, "--key", codec::to_hex(log_.key.public_key())}).out,
              HasSubstr("completeness not checked"));
}

TEST_F(AuditCommand, RefusesEachHeadThatDoesNotFitWithItsOwnCode) {
  const auto file = write("log.jsonl", joined(log_.lines(0, 8)));
  const auto refusal = [&](const merkle::SignedHead& head) {
    const auto ran = verify({file, "--head", write_head("head.json", head)});
    EXPECT_EQ(ran.code, kRejected) << ran.out << ran.err;
    return ran.error();
  };
  const auto changed = [&](std::uint64_t size, const std::string& log) {
    auto head = log_.head(size).head;
    head.log_id = log;
    if (log == log_.id) head.root[0] ^= 1;
    return log_.sign(head);
  };
  auto unsigned_head = log_.head(5);
  unsigned_head.signature[0] ^= 1;
  EXPECT_EQ(refusal(log_.head(11)), "tail_removed");
  EXPECT_EQ(refusal(changed(5, "log-other")), "earlier_head_of_another_log");
  EXPECT_EQ(refusal(unsigned_head), "earlier_head_signature_invalid");
  EXPECT_EQ(refusal(changed(8, log_.id)), "head_conflicts");
  EXPECT_EQ(refusal(changed(6, log_.id)), "history_forked");
}

TEST_F(AuditCommand, BelievesTheKeysThatItIsGivenAlone) {
  const auto file = write("log.jsonl", joined(log_.lines()));
  policy::TrustFile trust;
  const auto with = [&](const policy::TrustFile& what) {
    return run({"audit", "verify", file, "--json", "--trust", write("trust.json", policy::write_trust_file(what))});
  };
  EXPECT_EQ(with(trust).error(), "trust_not_given");
  trust.audit_keys = {ByteArray<32>{7}};
  EXPECT_EQ(with(trust).error(), "key_not_trusted");
  EXPECT_EQ(with(trust).code, kRejected);
  trust.audit_keys.push_back(log_.key.public_key());
  EXPECT_EQ(with(trust).code, kOk);
  EXPECT_EQ(run({"audit", "verify", file, "--json"}).error(), "trust_not_given");
}

TEST_F(AuditCommand, FailsWhereThereIsNoAnswer) {
  const auto file = write("log.jsonl", joined(log_.lines(5, 11)));
  const auto key = codec::to_hex(log_.key.public_key());
  for (const auto& more : std::vector<std::vector<std::string>>{{file + ".absent"},
                                                                {folder_.path().string()},
                                                                {file, "--head", file},
                                                                {file, "--head", file + ".absent"},
                                                                {file, "--head", write_head("early.json", log_.head(2))},
                                                                {}}) {
    const auto ran = verify(more);
    EXPECT_EQ(ran.code, kFailed) << ran.out << ran.err;
    EXPECT_EQ(ran.out, "");
    EXPECT_NE(ran.err, "");
  }
  EXPECT_EQ(run({"audit", "verify", file, "--key", "00"}).code, kFailed);
}

TEST_F(AuditCommand, ShowsEntriesOfAnExportThatIsAccepted) {
  const auto file = write("log.jsonl", joined(log_.lines(2, 11)));
  const auto key = codec::to_hex(log_.key.public_key());
  const auto listed = run({"audit", "list", "--export", file, "--key", key, "--json", "--first", "4", "--count", "2"});
  ASSERT_EQ(listed.code, kOk) << listed.err;
  const auto answer = json::parse(listed.out).value();
  const auto& leaves = *answer.find("leaves")->as_array();
  ASSERT_EQ(leaves.size(), 2U);
  EXPECT_EQ(leaves[0].find("index")->as_int(), 4);
  EXPECT_EQ(*leaves[0].find("details")->find("key")->as_string(), "0102");
  EXPECT_EQ(*leaves[0].find("meaning")->as_string(), "an operator's token was issued");
  EXPECT_THAT(run({"audit", "show", "7", "--export", file, "--key", key}).out, HasSubstr("tok-7"));
  EXPECT_EQ(run({"audit", "show", "1", "--export", file, "--key", key}).code, kFailed) << "before it";
  auto lines = log_.lines(2, 11);
  lines.erase(lines.begin() + 2);
  const auto broken = write("broken.jsonl", joined(lines));
  EXPECT_EQ(run({"audit", "list", "--export", broken, "--key", key, "--json"}).error(), "entry_out_of_place");
  EXPECT_EQ(run({"audit", "show", "7", "--export", broken, "--key", key}).code, kRejected);
}

}  // namespace
}  // namespace cloister::cli
