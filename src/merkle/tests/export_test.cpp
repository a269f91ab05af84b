#include "cloister/merkle/export.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "../fuzz/known_log.hpp"
#include "cloister/codec/text.hpp"

namespace cloister::merkle {
namespace {

namespace json = codec::json;
using known::joined;
using Lines = std::vector<std::string>;

class ExportTest : public ::testing::Test {
 protected:
  /// What is found; `accepted` is remembered for what asks the check itself.
  std::optional<ExportFinding> check(const Lines& lines, std::vector<KeptHead> kept = {}) {
    return check_text(joined(lines), std::move(kept));
  }
  std::optional<ExportFinding> check_text(std::string_view text, std::vector<KeptHead> kept = {}) {
    check_.emplace(std::vector{log_.key.public_key()}, std::move(kept),
                   [this](std::uint64_t index, const AuditLeaf&) { seen_.push_back(index); });
    check_->feed(text);
    return check_->finish();
  }
  void refused(ExportFault fault, const Lines& lines, std::optional<std::pair<int, int>> entries = std::nullopt,
               std::vector<KeptHead> kept = {}) {
    const auto finding = check(lines, std::move(kept));
    ASSERT_TRUE(finding.has_value()) << "accepted";
    EXPECT_EQ(to_string(finding->fault), to_string(fault)) << finding->detail;
    EXPECT_FALSE(finding->detail.empty());
    const auto first = finding->first ? static_cast<int>(*finding->first) : -1;
    const auto last = finding->last ? static_cast<int>(*finding->last) : -1;
    EXPECT_EQ(std::pair(first, last), entries.value_or(std::pair{-1, -1})) << finding->detail;
  }
  /// The line of the entry of that index; heads stand between.
  static std::size_t line_of(const Lines& lines, std::uint64_t index) {
    const auto begin = "{\"index\":" + std::to_string(index) + ",";
    const auto found = std::ranges::find_if(lines, [&](const std::string& line) { return line.starts_with(begin); });
    return static_cast<std::size_t>(found - lines.begin());
  }
  static std::size_t head_line_of(const Lines& lines, std::uint64_t size) {
    const auto begin = "{\"size\":" + std::to_string(size) + ",";
    const auto found = std::ranges::find_if(lines, [&](const std::string& line) { return line.starts_with(begin); });
    return static_cast<std::size_t>(found - lines.begin());
  }
  static std::string line(const ExportEntry& entry) { return json::write(to_json(entry)); }
  /// Entry and head lines with indices and sizes as they stand, whatever they were.
  Lines renumbered(Lines lines) const {
    std::uint64_t next = 0;
    for (std::size_t i = 1; i < lines.size(); ++i) {
      auto value = json::parse(lines[i]).value();
      if (value.find("leaf") == nullptr) continue;
      lines[i] = json::write(value.set("index", next++));
    }
    return lines;
  }
  static Lines without_heads(Lines lines, std::uint64_t but) {
    std::erase_if(lines, [&](const std::string& one) {
      return one.starts_with("{\"size\":") && !one.starts_with("{\"size\":" + std::to_string(but) + ",");
    });
    return lines;
  }
  static Bytes other_leaf() {
    return encode(AuditLeaf{from_micros(1), "token.issued", "tok-other", {}}).value();
  }

  known::Log log_;
  std::optional<ExportCheck> check_;
  std::vector<std::uint64_t> seen_;
};

TEST_F(ExportTest, AWholeLogIsAccepted) {
  EXPECT_FALSE(check(log_.lines()));
  EXPECT_EQ(check_->header().log_id, log_.id);
  EXPECT_EQ(check_->head(), log_.head(known::kSize));
  EXPECT_EQ(check_->heads(), known::kHeads.size());
  EXPECT_EQ(seen_.size(), known::kSize);
  ASSERT_TRUE(check_->rollback());
  EXPECT_EQ(check_->rollback()->subject, "tok-0");
}

TEST_F(ExportTest, EveryPartOfItIsAccepted) {
  for (const auto to : known::kHeads) {
    for (std::uint64_t from = 0; from <= to; ++from) {
      if (from == to && std::ranges::find(known::kHeads, from) == known::kHeads.end()) continue;
      seen_.clear();
      const auto finding = check(log_.lines(from, to), {{"last", log_.head(to)}});
      EXPECT_FALSE(finding) << from << " to " << to << ": " << finding->detail;
      EXPECT_EQ(seen_.size(), to - from);
      EXPECT_EQ(check_->head().head.tree_size, to);
    }
  }
}

TEST_F(ExportTest, AnEmptyLogIsAccepted) { EXPECT_FALSE(check(log_.lines(0, 0), {{"empty", log_.head(0)}})); }

TEST_F(ExportTest, IsReadInPiecesOfAnySize) {
  const auto text = joined(log_.lines());
  for (const std::size_t piece : {std::size_t{1}, std::size_t{7}, std::size_t{1000}}) {
    ExportCheck check{{log_.key.public_key()}, {}};
    for (std::size_t at = 0; at < text.size(); at += piece) check.feed(std::string_view{text}.substr(at, piece));
    EXPECT_FALSE(check.finish());
  }
}

TEST_F(ExportTest, ContinuesEveryHeadThatWasKept) {
  std::vector<KeptHead> kept;
  for (std::uint64_t size = 0; size <= known::kSize; ++size) kept.push_back({"head " + std::to_string(size), log_.head(size)});
  EXPECT_FALSE(check(log_.lines(), kept));
}

// --- what was changed ------------------------------------------------------------------------------------------------

TEST_F(ExportTest, FindsAChangedEntryBetweenTwoHeads) {
  auto lines = log_.lines();
  lines[line_of(lines, 6)] = line(ExportedLeaf{6, other_leaf()});
  refused(ExportFault::entries_changed, lines, std::pair{5, 7});
  // Heads that a person kept tell it nearer.
  refused(ExportFault::entries_changed, lines, std::pair{6, 7}, {{"kept", log_.head(6)}});
  lines = log_.lines();
  lines[line_of(lines, 1)] = line(ExportedLeaf{1, other_leaf()});
  refused(ExportFault::entries_changed, lines, std::pair{1, 1});
  // Also where it had fewer heads.
  refused(ExportFault::entries_changed, without_heads(lines, 11), std::pair{0, 10});
}

TEST_F(ExportTest, FindsAnEntryThatIsNone) {
  auto lines = log_.lines();
  auto leaf = log_.leaves[3];
  leaf.push_back(0);
  lines[line_of(lines, 3)] = line(ExportedLeaf{3, leaf});
  refused(ExportFault::entry_malformed, lines, std::pair{3, 3});
}

TEST_F(ExportTest, FindsEntriesInAnotherOrder) {
  auto lines = log_.lines();
  std::swap(lines[line_of(lines, 5)], lines[line_of(lines, 6)]);
  refused(ExportFault::entry_out_of_place, lines, std::pair{5, 5});
  refused(ExportFault::entries_changed, renumbered(lines), std::pair{5, 7});
}

TEST_F(ExportTest, FindsAnInsertedEntry) {
  auto lines = log_.lines();
  const auto at = lines.begin() + static_cast<std::ptrdiff_t>(line_of(lines, 6));
  lines.insert(at, line(ExportedLeaf{6, other_leaf()}));
  refused(ExportFault::entry_out_of_place, lines, std::pair{6, 6});
  refused(ExportFault::head_out_of_place, renumbered(lines), std::pair{5, 8});
  refused(ExportFault::head_out_of_place, without_heads(renumbered(lines), 11), std::pair{0, 11});
}

TEST_F(ExportTest, FindsARemovedEntry) {
  auto lines = log_.lines();
  lines.erase(lines.begin() + static_cast<std::ptrdiff_t>(line_of(lines, 6)));
  refused(ExportFault::entry_out_of_place, lines, std::pair{6, 6});
  refused(ExportFault::head_out_of_place, renumbered(lines), std::pair{5, 6});
}

TEST_F(ExportTest, FindsAHeadThatMoved) {
  auto lines = log_.lines();
  std::swap(lines[head_line_of(lines, 8)], lines[head_line_of(lines, 8) - 1]);
  refused(ExportFault::head_out_of_place, lines, std::pair{5, 6});
  lines = log_.lines();
  lines.push_back(lines.back());
  refused(ExportFault::head_out_of_place, lines);
}

TEST_F(ExportTest, FindsWhatIsWrongOfTheEntriesBeforeIt) {
  auto lines = log_.lines(5, 11);
  auto header = parse_export_header(json::parse(lines[0]).value()).value();
  header.peaks[0][0] ^= 1;
  lines[0] = json::write(to_json(header));
  refused(ExportFault::entries_changed, lines, std::pair{5, 7});
  lines = log_.lines(5, 5);
  lines[0] = json::write(to_json(header));
  refused(ExportFault::entries_changed, lines);
  header.peaks.pop_back();
  lines[0] = json::write(to_json(header));
  refused(ExportFault::line_malformed, lines);
}

TEST_F(ExportTest, FindsHeadsThatAreNotTheLogs) {
  auto lines = log_.lines();
  auto head = log_.head(8);
  head.signature[0] ^= 1;
  lines[head_line_of(lines, 8)] = line(head);
  refused(ExportFault::head_signature_invalid, lines);
  head = log_.head(8);
  head.head.log_id = "log-other";
  lines[head_line_of(lines, 8)] = line(log_.sign(head.head));
  refused(ExportFault::head_of_another_log, lines);
  head = log_.head(8);
  head.head.root[0] ^= 1;
  lines[head_line_of(lines, 8)] = line(log_.sign(head.head));
  refused(ExportFault::entries_changed, lines, std::pair{5, 7});
}

TEST_F(ExportTest, NothingInsideItIsAnAnchor) {
  // Whole, and signed by its own key.
  known::Log forged;
  forged.key = crypto::Ed25519Key::from_seed(crypto::Secret<32>{ByteArray<32>{43}});
  refused(ExportFault::key_not_trusted, forged.lines());
  // With the trusted key's name in its place, the heads are another's.
  auto lines = forged.lines();
  lines[0] = log_.lines()[0];
  refused(ExportFault::head_signature_invalid, lines);
  ExportCheck nobody{{}, {}};
  nobody.feed(joined(log_.lines()));
  ASSERT_TRUE(nobody.finish());
  EXPECT_EQ(nobody.finish()->fault, ExportFault::key_not_trusted);
}

TEST_F(ExportTest, FindsThatItsEndIsMissing) {
  auto lines = log_.lines();
  lines.pop_back();
  refused(ExportFault::cut_off, lines);
  lines.erase(lines.begin() + 1, lines.end());
  refused(ExportFault::cut_off, lines);
  refused(ExportFault::cut_off, {});
  auto text = joined(log_.lines());
  text.pop_back();
  const auto finding = check_text(text);
  ASSERT_TRUE(finding);
  EXPECT_EQ(finding->fault, ExportFault::cut_off);
}

TEST_F(ExportTest, RefusesLinesThatAreNone) {
  const auto wrong_line = [this](std::size_t at, std::string text) {
    auto lines = log_.lines();
    lines[at] = std::move(text);
    refused(ExportFault::line_malformed, lines);
  };
  auto header = json::parse(log_.lines()[0]).value();
  wrong_line(0, "{}");
  wrong_line(0, "");
  wrong_line(0, json::write(json::Value{header}.set("format", "cloister/audit-export/2")));
  wrong_line(0, json::write(json::Value{header}.set("more", 1)));
  wrong_line(0, json::write(json::Value{header}.set("log", "No id")));
  wrong_line(0, json::write(json::Value{header}.set("key", "00")));
  wrong_line(0, json::write(json::Value{header}.set("from", -1)));
  wrong_line(0, json::write(json::Value{header}.set("peaks", json::Array{"00"})));
  wrong_line(0, json::write(json::Value{header}.set("peaks", json::Array(64, json::Value{""}))));
  auto entry = json::parse(log_.lines()[1]).value();
  wrong_line(1, json::write(json::Value{entry}.set("more", 1)));
  wrong_line(1, json::write(json::Value{entry}.set("leaf", "*")));
  wrong_line(1, json::write(json::Value{entry}.set("index", "0")));
  auto head = json::parse(log_.lines()[2]).value();
  wrong_line(2, json::write(json::Value{head}.set("size", 2)));
  wrong_line(2, json::write(json::Value{head}.set("head", "AA==")));
  wrong_line(2, json::write(json::Value{head}.set("leaf", "AA==")));
  wrong_line(2, "[]");
  wrong_line(2, std::string(kMaxExportLine + 1, ' '));
  const auto largest = check_text(std::string(kMaxExportLine, ' ') + '\n');
  ASSERT_TRUE(largest);
  EXPECT_EQ(largest->detail.find("at most"), std::string::npos) << largest->detail;
}

// --- heads that were kept --------------------------------------------------------------------------------------------

TEST_F(ExportTest, FindsARemovedTailByAnEarlierHead) {
  EXPECT_FALSE(check(log_.lines(0, 8))) << "without one it cannot";
  refused(ExportFault::tail_removed, log_.lines(0, 8), std::pair{8, 10}, {{"kept", log_.head(11)}});
  refused(ExportFault::tail_removed, log_.lines(0, 8), std::pair{8, 8}, {{"old", log_.head(2)}, {"kept", log_.head(9)}});
}

TEST_F(ExportTest, RefusesAnEarlierHeadOfAnotherLog) {
  auto head = log_.head(5).head;
  head.log_id = "log-other";
  refused(ExportFault::earlier_head_of_another_log, log_.lines(), std::nullopt, {{"kept", log_.sign(head)}});
}

TEST_F(ExportTest, RefusesAnEarlierHeadThatIsNotSigned) {
  auto head = log_.head(5);
  head.signature[63] ^= 1;
  refused(ExportFault::earlier_head_signature_invalid, log_.lines(), std::nullopt, {{"kept", head}});
}

TEST_F(ExportTest, RefusesAnotherHistory) {
  auto head = log_.head(7).head;
  head.root[0] ^= 1;
  refused(ExportFault::history_forked, log_.lines(), std::pair{5, 6}, {{"kept", log_.sign(head)}});
  // At the first size, of the part before the export.
  head = log_.head(5).head;
  head.root[0] ^= 1;
  refused(ExportFault::history_forked, log_.lines(5, 11), std::nullopt, {{"kept", log_.sign(head)}});
}

TEST_F(ExportTest, RefusesASecondHeadOfTheSameSize) {
  auto head = log_.head(11).head;
  head.root[0] ^= 1;
  refused(ExportFault::head_conflicts, log_.lines(), std::nullopt, {{"kept", log_.sign(head)}});
  // Also where it is the kept one that the entries agree with.
  auto lines = log_.lines();
  lines.back() = line(log_.sign(head));
  refused(ExportFault::head_conflicts, lines, std::nullopt, {{"kept", log_.head(11)}});
}

TEST_F(ExportTest, AChangedEntryIsNoFork) {
  auto lines = log_.lines();
  lines[line_of(lines, 6)] = line(ExportedLeaf{6, other_leaf()});
  refused(ExportFault::entries_changed, lines, std::pair{5, 7}, {{"kept", log_.head(7)}});
}

TEST_F(ExportTest, CannotSayOfAHeadBeforeIt) {
  refused(ExportFault::earlier_head_before_export, log_.lines(5, 11), std::nullopt, {{"kept", log_.head(2)}});
}

// --- heads as they are kept ------------------------------------------------------------------------------------------

TEST_F(ExportTest, ReadsHeadsInEveryForm) {
  const auto head = log_.head(5);
  EXPECT_EQ(*read_kept_head(encode(head)), head);
  auto shown = head_json(head, log_.key.public_key());
  const auto read = [](const json::Value& value) { return read_kept_head(as_bytes(json::write(value) + "\n")); };
  EXPECT_EQ(*read(shown), head);
  EXPECT_EQ(*read(json::Object{{"verdict", "accepted"}, {"head", shown}}), head);
  shown.set("trusted", true);
  EXPECT_EQ(*read(shown), head);
  EXPECT_EQ(read(json::Value{shown}.set("more", 1)).error().code(), Errc::unknown_member);
  EXPECT_EQ(read(json::Value{shown}.set("log", "No id")).error().code(), Errc::malformed);
  EXPECT_EQ(read(json::Value{shown}.set("size", -1)).error().code(), Errc::malformed);
  EXPECT_FALSE(read(json::Value{shown}.set("time", "now")).ok());
  EXPECT_FALSE(read(json::Object{}).ok());
  EXPECT_FALSE(read_kept_head({}).ok());
  EXPECT_FALSE(read_kept_head(Bytes{0x83, 0x00}).ok());
  EXPECT_EQ(read_kept_head(Bytes(20'000, 0x20)).error().code(), Errc::limit_exceeded);
}

}  // namespace
}  // namespace cloister::merkle
