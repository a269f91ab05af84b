#include <fcntl.h>
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <thread>

#include "cloister/codec/json.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/evidence/collateral.hpp"
#include "cloister/evidence/quote.hpp"
#include "cloister/evidence/tcb_info.hpp"
#include "cloister/lab_host/host.hpp"
#include "cloister/lab_host/tcb.hpp"
#include "cloister/measure/rtmr.hpp"
#include "cloister/measure/td_image.hpp"
#include "cloister/process/unix_socket.hpp"
#include "cloister/provider/process_provider.hpp"
#include "support/support.hpp"

namespace cloister::lab_host {
namespace {

namespace fs = std::filesystem;
using process::UniqueFd;
using ::testing::HasSubstr;
using ::testing::Not;

Deadline soon() { return Deadline{std::chrono::steady_clock::now() + std::chrono::seconds{60}}; }

const provider::TdImage& guest_image() {
  static const auto image = provider::td_image_of_program(CLOISTER_LAB_HOST_TEST_GUEST);
  EXPECT_TRUE(image.ok()) << image.error().text();
  return *image;
}

/// The same image with descriptors of its own.
provider::TdImage copy_of(const provider::TdImage& image) {
  provider::TdImage out;
  for (const auto& file : image) {
    auto memfd = process::sealed_memfd(file.path, file.contents());
    auto mapping = process::SealedMapping::of(memfd->get());
    out.push_back({.path = file.path, .mode = file.mode, .memfd = std::move(*memfd), .mapping = std::move(*mapping)});
  }
  return out;
}

Digest48 measured(const provider::TdImage& image) {
  std::vector<measure::TdFile> files;
  for (const auto& file : image) files.push_back({.path = file.path, .mode = file.mode, .contents = file.contents()});
  const auto mrtd = measure::mrtd_of_td_image(files);
  EXPECT_TRUE(mrtd.ok());
  return mrtd.ok() ? *mrtd : Digest48{};
}

provider::Blob blob_of(std::string_view text, std::uint8_t digest = 1) {
  return {.sha256 = Digest32{digest}, .file = std::move(*process::sealed_memfd("blob", as_bytes(text)))};
}

/// The same command channel that the test guest has at its end.
class Guest {
 public:
  explicit Guest(provider::StartedCvm cvm)
      : id{std::move(cvm.id)},
        life{std::move(cvm.life)},
        stream_{std::move(cvm.streams), {.bytes = 1U << 20, .descriptors = 0}} {}

  Bytes ask_bytes(std::string_view command) {
    EXPECT_TRUE(stream_.send(as_bytes(command), {}, soon()).ok());
    auto answer = stream_.receive(soon());
    EXPECT_TRUE(answer.ok()) << command << ": " << answer.error().text();
    return answer ? std::move(answer->payload) : Bytes{};
  }
  std::string ask(std::string_view command) { return std::string{as_text(ask_bytes(command))}; }
  void tell(std::string_view command) { EXPECT_TRUE(stream_.send(as_bytes(command), {}, soon()).ok()); }
  void hang_up() { stream_.close(); }
  /// What reading says once nobody answers any more.
  Errc end_of_stream() {
    auto answer = stream_.receive(soon());
    return answer ? Errc{} : answer.error().code();
  }
  evidence::TdBody quoted(const Digest64& data) {
    auto quote = evidence::parse_quote(ask_bytes("quote " + codec::to_hex(data)));
    EXPECT_TRUE(quote.ok()) << quote.error().text();
    return quote && quote->td() != nullptr ? *quote->td() : evidence::TdBody{};
  }

  std::string id;
  std::optional<provider::CvmLife> life;

 private:
  process::FrameSocket stream_;
};

/// A platform in this process, on a thread that stays until the end.
class LabHostTest : public ::testing::TestWithParam<bool> {
 protected:
  void SetUp() override { start_host(); }
  void TearDown() override { stop_host(); }

  void start_host(HostOptions options = {}) {
    auto sandbox = GetParam() ? process::Sandbox::probe() : process::Sandbox::none("asked for");
    if (sandbox.isolates() != GetParam()) GTEST_SKIP() << sandbox.description();
    options.state = state();
    auto stop = process::stream_pair();
    stop_ = std::move(stop->first);
    std::atomic<bool> opened = false;
    thread_ = std::thread{[&, options, inner = std::move(sandbox), fd = std::move(stop->second)]() mutable {
      auto host = Host::open(std::move(options), std::move(inner), clock_, random_, logger_);
      EXPECT_TRUE(host.ok()) << host.error().text();
      opened = true;
      opened.notify_one();
      if (!host) return;
      EXPECT_TRUE(host->run(fd.get()).ok());
    }};
    opened.wait(false);
  }
  void stop_host() {
    stop_.reset();
    if (thread_.joinable()) thread_.join();
  }

  [[nodiscard]] fs::path state() const { return dir_.path() / "state"; }
  [[nodiscard]] fs::path control() const { return state() / "control.sock"; }
  [[nodiscard]] provider::ProcessProvider platform(provider::TdImage image = copy_of(guest_image())) const {
    return {control(), std::move(image)};
  }
  Guest start(provider::StartRequest request = {}) {
    auto started = platform().start(request, soon());
    EXPECT_TRUE(started.ok()) << started.error().text();
    if (!started) ::_exit(1);  // nothing of these tests makes sense
    return Guest{std::move(*started)};
  }
  std::string exit_text(Guest& guest) {
    auto exit = guest.life->wait(soon());
    EXPECT_TRUE(exit.ok()) << exit.error().text();
    return exit ? exit->status.text() : "";
  }

  /// One request frame as it is.
  Result<process::Frame> raw(ByteView payload, std::span<const int> descriptors = {}) {
    process::FrameSocket socket{std::move(*process::connect_to(control())), provider::kHostAnswerLimits};
    if (auto sent = socket.send(payload, descriptors, soon()); !sent) return sent.error();
    return socket.receive(soon());
  }

  test::TempDir dir_;
  SystemClock clock_;
  SystemRandom random_;
  log::NullLogger logger_;
  UniqueFd stop_;
  std::thread thread_;
};

TEST_P(LabHostTest, QuotesTheMeasurementOfWhatItRuns) {
  auto guest = start();
  Digest64 data;
  data.fill(0xAB);
  const auto body = guest.quoted(data);
  EXPECT_EQ(body.mr_td, measured(guest_image()));
  EXPECT_EQ(body.report_data, data);
  EXPECT_EQ(body.td_attributes, std::uint64_t{1} << 28);
  for (const auto& rtmr : body.rtmr) EXPECT_EQ(rtmr, Digest48{});
  EXPECT_EQ(body.mr_config_id, Digest48{});
  EXPECT_EQ(guest.ask_bytes("report " + codec::to_hex(data)).size(), 1024U);
}

/// What the running platform hands out.
struct Offered {
  evidence::TcbInfo info;
  crypto::x509::Crl pck_crl;
};
Offered offered(provider::ProcessProvider platform) {
  const auto served = platform.collateral(soon()).value();
  const auto collateral = evidence::parse_quote_collateral(served.collateral_json).value();
  return {evidence::parse_tcb_info_body(collateral.tcb_info).value(), crypto::x509::parse_crl(collateral.pck_crl).value()};
}

TEST_P(LabHostTest, HandsOutWhatIsPublishedWhileTdsRun) {
  auto guest = start();
  ASSERT_EQ(offered(platform()).info.tcb_evaluation_data_number, 17U);
  const auto advised = change_tcb(state(), AdviseNext{}, clock_);
  ASSERT_TRUE(advised.ok()) << advised.error().text();
  EXPECT_FALSE(advised->story.up_to_date());
  EXPECT_EQ(offered(platform()).info.tcb_evaluation_data_number, 18U);
  EXPECT_EQ(offered(platform()).info.levels[1].advisory_ids, std::vector<std::string>{"LAB-SA-00002"});
  const auto quote = evidence::parse_quote(guest.ask_bytes("quote " + std::string(128, '0'))).value();
  const auto svn = quote.td()->tee_tcb_svn;

  // A machine that runs is not updated under its TDs.
  EXPECT_EQ(change_tcb(state(), lab::Update{}, clock_).error().code(), Errc::conflict);
  const auto before = view_tcb(state(), clock_).value();
  stop_host();
  const auto updated = change_tcb(state(), lab::Update{}, clock_);
  ASSERT_TRUE(updated.ok()) << updated.error().text();
  EXPECT_TRUE(updated->story.up_to_date());
  EXPECT_NE(updated->pck_serial, before.pck_serial);
  start_host();
  auto after = start();
  EXPECT_EQ(after.quoted({}).tee_tcb_svn[2], svn[2] + 1);

  const auto revoked = change_tcb(state(), RevokeOwnPck{}, clock_);
  ASSERT_TRUE(revoked.ok()) << revoked.error().text();
  const auto now = offered(platform());
  EXPECT_TRUE(now.pck_crl.revokes(updated->pck_serial));
  EXPECT_FALSE(now.pck_crl.revokes(before.pck_serial));
}

TEST_P(LabHostTest, RunningTdsGoOnInANewModule) {
  stop_host();
  HostOptions options;
  options.quote_format = lab::QuoteFormat::v5;
  start_host(std::move(options));
  auto guest = start();
  const auto before = guest.quoted({});
  ASSERT_TRUE(change_tcb(state(), AdviseNext{lab::TcbPart::module}, clock_).ok());
  ASSERT_TRUE(change_tcb(state(), lab::UpdateModule{}, clock_).ok());
  (void)offered(platform());  // by now the platform has read it
  const auto after = guest.quoted({});
  EXPECT_EQ(after.tee_tcb_svn, before.tee_tcb_svn);
  EXPECT_EQ(after.v15->tee_tcb_svn2[0], before.tee_tcb_svn[0] + 1);
  auto second = start();
  EXPECT_EQ(second.quoted({}).tee_tcb_svn[0], before.tee_tcb_svn[0] + 1);
}

TEST_P(LabHostTest, ClockCanBeSet) {
  const auto to = from_civil(2031, 5, 6, 7, 8, 9).value();
  const auto set = change_tcb(state(), SetClock{to}, clock_);
  ASSERT_TRUE(set.ok()) << set.error().text();
  EXPECT_LE(set->now, to + std::chrono::minutes{5});
  EXPECT_GE(set->now, to - std::chrono::seconds{1});
  const auto issued = offered(platform()).info.issue_date;
  EXPECT_GE(issued, to - std::chrono::seconds{1});
  EXPECT_LE(issued, to + std::chrono::minutes{5});
  // What is kept back stays as old as it is.
  ASSERT_TRUE(change_tcb(state(), lab::Withhold{}, clock_).ok());
  ASSERT_TRUE(change_tcb(state(), SetClock{to + std::chrono::days{40}}, clock_).ok());
  EXPECT_LE(offered(platform()).info.issue_date, to + std::chrono::minutes{5});
  ASSERT_TRUE(change_tcb(state(), lab::Release{}, clock_).ok());
  EXPECT_GE(offered(platform()).info.issue_date, to + std::chrono::days{39});
  // An act of the future stands: nothing may come before it.
  ASSERT_TRUE(change_tcb(state(), SetClock{}, clock_).ok());
  EXPECT_EQ(change_tcb(state(), AdviseNext{}, clock_).error().code(), Errc::invalid_argument);
  EXPECT_EQ(change_tcb(state(), SetClock{from_civil(2400, 1, 1, 0, 0, 0).value()}, clock_).error().code(), Errc::invalid_argument);
}

TEST_P(LabHostTest, BrokenStoryIsNotFollowed) {
  const auto before = offered(platform()).info;
  std::ofstream{state() / "tcb.json"} << "{";
  EXPECT_EQ(offered(platform()).info, before);
  EXPECT_EQ(view_tcb(state(), clock_).error().code(), Errc::configuration_invalid);
  EXPECT_EQ(change_tcb(state(), AdviseNext{}, clock_).error().code(), Errc::configuration_invalid);
  stop_host();
  const auto refused = Host::open({.state = state()}, process::Sandbox::none("asked for"), clock_, random_, logger_);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), Errc::configuration_invalid);
  EXPECT_THAT(refused.error().detail(), HasSubstr("tcb.json"));
}

TEST_P(LabHostTest, QuotesInTheFormatThatWasAskedFor) {
  stop_host();
  HostOptions options;
  options.quote_format = lab::QuoteFormat::v5;
  start_host(std::move(options));
  auto guest = start();
  EXPECT_TRUE(guest.quoted({}).v15.has_value());
}

TEST_P(LabHostTest, QuotesAnImageWithoutRunningIt) {
  std::vector<measure::TdFile> files;
  for (const auto& file : guest_image()) files.push_back({.path = file.path, .mode = file.mode, .contents = file.contents()});
  Digest64 data;
  data.fill(9);
  const auto bytes = quote_image(state(), files, data, lab::QuoteFormat::v4);
  ASSERT_TRUE(bytes.ok()) << bytes.error().text();
  const auto quote = evidence::parse_quote(*bytes).value();
  EXPECT_EQ(quote.td()->mr_td, measured(guest_image()));
  EXPECT_EQ(quote.report_data(), data);
  EXPECT_EQ(quote_image(dir_.path() / "absent", files, data, lab::QuoteFormat::v4).error().code(), Errc::not_found);
  EXPECT_EQ(change_tcb(dir_.path() / "absent", AdviseNext{}, clock_).error().code(), Errc::not_found);
  EXPECT_FALSE(fs::exists(dir_.path() / "absent"));
}

TEST_P(LabHostTest, ChangedFilesChangeTheMeasurement) {
  auto image = copy_of(guest_image());
  auto changed = to_bytes(image.front().contents());
  changed.push_back(0);  // behind everything that an ELF loader reads
  image.front().memfd = std::move(*process::sealed_memfd("changed", changed));
  image.front().mapping = std::move(*process::SealedMapping::of(image.front().memfd.get()));
  const auto expected = measured(image);
  auto started = platform(std::move(image)).start({}, soon());
  ASSERT_TRUE(started.ok()) << started.error().text();
  Guest guest{std::move(*started)};
  EXPECT_EQ(guest.quoted({}).mr_td, expected);
  EXPECT_NE(expected, measured(guest_image()));
}

TEST_P(LabHostTest, ExtendsTheCallersRegistersOnly) {
  auto first = start();
  auto second = start();
  Digest48 digest;
  digest.fill(7);
  EXPECT_EQ(first.ask("extend 3 " + codec::to_hex(digest)), "ok");
  EXPECT_EQ(first.ask("extend 2 " + codec::to_hex(digest)), "ok");
  EXPECT_THAT(first.ask("extend 0 " + codec::to_hex(digest)), HasSubstr("permission_denied"));
  EXPECT_THAT(first.ask("extend 1 " + codec::to_hex(digest)), HasSubstr("permission_denied"));
  const auto extended = measure::rtmr_extend({}, digest);
  const auto body = first.quoted({});
  EXPECT_EQ(body.rtmr[3], extended);
  EXPECT_EQ(body.rtmr[2], extended);
  EXPECT_EQ(body.rtmr[0], Digest48{});
  EXPECT_EQ(second.quoted({}).rtmr[3], Digest48{});
}

TEST_P(LabHostTest, GivesAGuestItsOwnDescriptorsOnly) {
  provider::StartRequest request{.configuration = to_bytes("the configuration"), .blobs = {}, .memory_mib = 16};
  request.blobs.push_back(blob_of("first", 2));
  request.blobs.push_back(blob_of("second", 1));
  auto other = start();
  auto guest = start(std::move(request));
  EXPECT_EQ(guest.ask("descriptors"), "0 1 2 3 4 5 6 7 ");
  EXPECT_EQ(guest.ask("configuration"), "the configuration");
  EXPECT_EQ(guest.ask("blob 0"), "first");
  EXPECT_EQ(guest.ask("blob 1"), "second");
}

TEST_P(LabHostTest, AHostileGuestCannotGetAnothersMeasurement) {
  auto honest = start();
  auto image = copy_of(guest_image());
  auto changed = to_bytes(image.front().contents());
  changed.push_back(1);
  image.front().memfd = std::move(*process::sealed_memfd("hostile", changed));
  image.front().mapping = std::move(*process::SealedMapping::of(image.front().memfd.get()));
  const auto hostile_mrtd = measured(image);
  auto started = platform(std::move(image)).start({}, soon());
  ASSERT_TRUE(started.ok());
  Guest hostile{std::move(*started)};

  // Whatever it says over its socket, it is answered about itself, or not at all.
  const std::string domain = "6e636c6f69737465722f7465652f31";
  const std::string quote = "6571756f7465";
  const std::string data = "5840" + std::string(128, '0');
  const auto named = "84" + domain + quote + data + "58" + "30" + codec::to_hex(honest.quoted({}).mr_td);
  EXPECT_THAT(hostile.ask("tee " + named), HasSubstr(codec::to_hex(as_bytes("unsupported"))));
  EXPECT_THAT(hostile.ask("tee " + quote), HasSubstr(codec::to_hex(as_bytes("error"))));
  EXPECT_THAT(hostile.ask("tee 00"), HasSubstr(codec::to_hex(as_bytes("error"))));
  const auto answer = hostile.ask("tee 83" + domain + quote + data);
  EXPECT_THAT(answer, HasSubstr(codec::to_hex(hostile_mrtd)));
  EXPECT_THAT(answer, Not(HasSubstr(codec::to_hex(measured(guest_image())))));

  // There is no other socket within its reach, and a broken frame ends its own.
  if (GetParam()) {
    EXPECT_THAT(hostile.ask("list " + state().native()), HasSubstr("errno"));
    EXPECT_THAT(hostile.ask("write " + control().native()), HasSubstr("errno"));
  }
  EXPECT_THAT(hostile.ask("tee-with-descriptor 00"), HasSubstr("closed"));
  EXPECT_THAT(hostile.ask("quote " + std::string(128, '0')), HasSubstr("peer_closed"));
  EXPECT_EQ(honest.quoted({}).mr_td, measured(guest_image()));
}

TEST_P(LabHostTest, AGuestCannotSendTooMuch) {
  auto guest = start();
  EXPECT_THAT(guest.ask("tee " + std::string(2 * 257, '0')), HasSubstr("closed"));
}

TEST_P(LabHostTest, ReportsHowATdEnded) {
  auto guest = start();
  EXPECT_EQ(guest.ask("print last-words"), "ok");
  guest.tell("exit 3");
  auto exit = guest.life->wait(soon());
  ASSERT_TRUE(exit.ok()) << exit.error().text();
  EXPECT_EQ(exit->status.text(), "exit 3");
  EXPECT_THAT(exit->console, HasSubstr("last-words"));
  EXPECT_TRUE(platform().list(soon())->empty());
}

TEST_P(LabHostTest, AGuestSeesItsStreamEnd) {
  auto guest = start();
  EXPECT_EQ(guest.ask("pid").empty(), false);
  guest.hang_up();
  EXPECT_EQ(exit_text(guest), "exit 0");
}

TEST_P(LabHostTest, StopsATdByName) {
  auto first = start();
  auto second = start();
  EXPECT_THAT(*platform().list(soon()), ::testing::UnorderedElementsAre(first.id, second.id));
  EXPECT_TRUE(platform().stop(first.id, soon()).ok());
  EXPECT_EQ(exit_text(first), "signal 9");
  EXPECT_THAT(*platform().list(soon()), ::testing::ElementsAre(second.id));
  EXPECT_EQ(platform().stop(first.id, soon()).error().code(), Errc::not_found);
  EXPECT_EQ(second.quoted({}).mr_td, measured(guest_image()));
}

TEST_P(LabHostTest, StopsATdWhoseStarterIsGone) {
  auto guest = start();
  (void)guest.ask("pid");
  guest.life.reset();
  while (!platform().list(soon())->empty()) std::this_thread::yield();
}

TEST_P(LabHostTest, RefusesImagesThatItCannotMeasureOrRun) {
  provider::TdImage no_loader;
  no_loader.push_back(std::move(copy_of(guest_image()).front()));
  EXPECT_EQ(platform(std::move(no_loader)).start({}, soon()).error().code(), Errc::invalid_argument);
  auto bad_path = copy_of(guest_image());
  bad_path.back().path = "../escape";
  EXPECT_EQ(platform(std::move(bad_path)).start({}, soon()).error().code(), Errc::invalid_argument);
  auto order = copy_of(guest_image());
  std::swap(order[1], order[2]);
  EXPECT_EQ(platform(std::move(order)).start({}, soon()).error().code(), Errc::invalid_argument);
  auto text = copy_of(guest_image());
  text.front().memfd = std::move(*process::sealed_memfd("text", as_bytes("#!/bin/sh\n")));
  EXPECT_EQ(platform(std::move(text)).start({}, soon()).error().code(), Errc::malformed);
  provider::StartRequest twice;
  twice.blobs.push_back(blob_of("same"));
  twice.blobs.push_back(blob_of("same"));
  EXPECT_EQ(platform().start(twice, soon()).error().code(), Errc::invalid_argument);
  EXPECT_TRUE(platform().list(soon())->empty());
}

TEST_P(LabHostTest, RefusesBadControlMessages) {
  const auto code_of = [&](ByteView payload, std::span<const int> descriptors = {}) {
    auto answer = raw(payload, descriptors);
    return answer ? provider::decode_list_answer(answer->payload).error().code() : answer.error().code();
  };
  const auto list = provider::encode(provider::ListTds{});
  EXPECT_TRUE(provider::decode_list_answer(raw(list)->payload).ok());
  auto trailing = list;
  trailing.push_back(0);
  EXPECT_EQ(code_of(trailing), Errc::trailing_bytes);
  EXPECT_EQ(code_of({}), Errc::truncated);
  const UniqueFd null{::open("/dev/null", O_RDONLY | O_CLOEXEC)};
  const std::array one{null.get()};
  EXPECT_EQ(code_of(list, one), Errc::invalid_argument);
  // A file that is promised and not sent; one that is no file.
  const auto start_td = provider::encode(provider::StartTd{
      .files = {{.path = "guest", .mode = 0755}}, .configuration = {}, .memory_mib = 1, .blobs = {}});
  EXPECT_EQ(code_of(start_td), Errc::invalid_argument);
  EXPECT_EQ(code_of(start_td, one), Errc::invalid_argument);
  // Too long, and too many descriptors: the connection ends without an answer.
  EXPECT_EQ(code_of(Bytes(provider::kHostRequestLimits.bytes + 1)), Errc::peer_closed);
  const std::vector<int> many(201, null.get());
  EXPECT_EQ(code_of(start_td, many), Errc::peer_closed);
  // And it still serves.
  EXPECT_TRUE(platform().list(soon()).ok());
}

TEST_P(LabHostTest, RefusesMoreThanItsLimits) {
  stop_host();
  start_host({.state = {}, .max_tds = 1, .max_blob_bytes = 10});
  provider::StartRequest request;
  request.blobs.push_back(blob_of("123456"));
  request.blobs.push_back(blob_of("78901"));
  EXPECT_EQ(platform().start(request, soon()).error().code(), Errc::limit_exceeded);
  auto guest = start();
  EXPECT_EQ(platform().start({}, soon()).error().code(), Errc::overloaded);
  guest.tell("exit 0");
  EXPECT_EQ(exit_text(guest), "exit 0");
  (void)start();
}

TEST_P(LabHostTest, IsTheSamePlatformAfterARestart) {
  const auto root = test::read_text(state() / "root.pem");
  const auto seed = test::read_file(state() / "seed");
  const auto chain = [&] {
    auto guest = start();
    return evidence::parse_quote(guest.ask_bytes("quote " + std::string(128, '0')))->signature().qe_report;
  };
  const auto before = chain();
  stop_host();
  EXPECT_FALSE(fs::exists(control()));
  start_host();
  EXPECT_EQ(test::read_text(state() / "root.pem"), root);
  EXPECT_EQ(test::read_file(state() / "seed"), seed);
  EXPECT_EQ(chain(), before);
}

TEST_P(LabHostTest, KeepsItsStateToItself) {
  const auto mode = [](const fs::path& path) { return fs::status(path).permissions(); };
  EXPECT_EQ(mode(state()), fs::perms::owner_all);
  EXPECT_EQ(mode(state() / "seed"), fs::perms::owner_read | fs::perms::owner_write);
  EXPECT_EQ(mode(control()), fs::perms::owner_read | fs::perms::owner_write);
  auto second = Host::open({.state = state()}, process::Sandbox::none("test"), clock_, random_, logger_);
  EXPECT_EQ(second.error().code(), Errc::conflict);
}

TEST_P(LabHostTest, RefusesAConnectionOfAnotherUser) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can become another user";
  // A socket carries the user of its connect: one that was made as nobody, through a path that nobody can reach.
  fs::permissions(dir_.path(), fs::perms::owner_all | fs::perms::group_exec);
  fs::permissions(state(), fs::perms::owner_all | fs::perms::group_exec);
  fs::permissions(control(), fs::perms::all);
  Result<UniqueFd> socket = Error{Errc::internal};
  bool other_user = false;
  std::thread{[&] {
    other_user = ::syscall(SYS_setresuid, -1, 65534, -1) == 0;  // this thread alone
    socket = process::connect_to(control());
  }}.join();
  if (!other_user) GTEST_SKIP() << "there is no other user here";
  ASSERT_TRUE(socket.ok()) << socket.error().text();
  process::FrameSocket frames{std::move(*socket), provider::kHostAnswerLimits};
  const auto answer = frames.receive(soon());  // closed before it asked anything
  EXPECT_EQ(answer.error().code(), Errc::peer_closed);
}

TEST_P(LabHostTest, WritesCollateralThatItAlsoServes) {
  const auto served = platform().collateral(soon());
  ASSERT_TRUE(served.ok()) << served.error().text();
  EXPECT_EQ(served->collateral_json, test::read_text(state() / "collateral.json"));
  EXPECT_EQ(served->root_pem, test::read_text(state() / "root.pem"));
  EXPECT_TRUE(evidence::parse_quote_collateral(served->collateral_json).ok());
}

TEST_P(LabHostTest, AGuestRunsItsChallengeApart) {
  provider::StartRequest request;
  request.blobs.push_back(blob_of(as_text(test::read_file(CLOISTER_PROCESS_PROBE))));
  auto guest = start(std::move(request));
  EXPECT_THAT(guest.ask("confine no_new_privileges"), HasSubstr("(exit 1)"));
  EXPECT_THAT(guest.ask("confine descriptors"), HasSubstr("isolated: 0 1 2  (exit 0)"));
  const auto root = guest.ask("confine list");
  if (!root.starts_with("isolated")) GTEST_SKIP() << root;
  EXPECT_THAT(root, Not(HasSubstr(" td ")));  // the guest's own files
  EXPECT_THAT(guest.ask("confine pid"), HasSubstr("isolated: 1 "));
}

INSTANTIATE_TEST_SUITE_P(Kinds, LabHostTest, ::testing::Bool(),
                         [](const auto& kind) { return kind.param ? "Bubblewrap" : "Plain"; });

class StateTest : public ::testing::Test {
 protected:
  Errc refusal() {
    auto host = Host::open({.state = state()}, process::Sandbox::none("test"), clock_, random_, logger_);
    return host ? Errc{} : host.error().code();
  }
  void open_once() {
    ASSERT_TRUE(Host::open({.state = state()}, process::Sandbox::none("test"), clock_, random_, logger_).ok());
  }
  [[nodiscard]] fs::path state() const { return dir_.path() / "deep" / "state"; }
  test::TempDir dir_;
  test::FakeClock clock_{from_micros(1'800'000'000'000'000)};
  test::SeededRandom random_{1};
  log::NullLogger logger_;
};

TEST_F(StateTest, RefusesADirectoryThatOthersMayWriteTo) {
  open_once();
  fs::permissions(state(), fs::perms::all);
  EXPECT_EQ(refusal(), Errc::configuration_invalid);
}

TEST_F(StateTest, RefusesASeedThatOthersMayRead) {
  open_once();
  fs::permissions(state() / "seed", fs::perms::others_read, fs::perm_options::add);
  EXPECT_EQ(refusal(), Errc::configuration_invalid);
}

TEST_F(StateTest, RefusesARootWithoutItsSeed) {
  open_once();
  fs::remove(state() / "seed");
  EXPECT_EQ(refusal(), Errc::configuration_invalid);
}

TEST_F(StateTest, RefusesASeedThatIsNotTheRoots) {
  open_once();
  std::ofstream{state() / "seed"} << std::string(32, 'x');
  EXPECT_EQ(refusal(), Errc::configuration_invalid);
  std::ofstream{state() / "seed"} << "short";
  EXPECT_EQ(refusal(), Errc::configuration_invalid);
}

TEST_F(StateTest, SaysWhereItCannotBeToldWhatIsThere) {
  open_once();
  for (const auto* name : {"root.pem", "seed"}) {
    const auto file = state() / name;
    fs::rename(file, dir_.path() / name);
    fs::create_symlink(name, file);  // leads to itself
    EXPECT_EQ(refusal(), Errc::io_error) << name;
    fs::remove(file);
    fs::rename(dir_.path() / name, file);
  }
  open_once();
}

TEST_F(StateTest, FinishesAStartThatBrokeOffBeforeTheRoot) {
  open_once();
  fs::remove(state() / "root.pem");
  open_once();
  EXPECT_TRUE(fs::exists(state() / "root.pem"));
}

/// A platform as a process of its own, that has printed its line.
class LabPlatformProcess : public ::testing::Test {
 protected:
  void SetUp() override {
    auto output = process::pipe_pair();
    auto child = process::ChildProcess::start({.program = CLOISTER_LAB_HOST_TEST_PLATFORM,
                                               .arguments = {(dir_.path() / "state").native()},
                                               .environment = {},
                                               .descriptors = {{.source = output->second.get(), .target = 1}},
                                               .directory = "/",
                                               .limits = {},
                                               .user = {}});
    ASSERT_TRUE(child.ok()) << child.error().text();
    child_.emplace(std::move(*child));
    output->second.reset();
    std::string line;
    char c = 0;
    while (::read(output->first.get(), &c, 1) == 1 && c != '\n') line += c;
    auto ready = codec::json::parse(line);
    ASSERT_TRUE(ready.ok()) << line;
    ready_ = std::move(*ready);
  }
  [[nodiscard]] fs::path path(std::string_view name) const { return *ready_.find(name)->as_string(); }
  Guest start() {
    provider::ProcessProvider platform{path("control"), copy_of(guest_image())};
    auto started = platform.start({}, soon());
    EXPECT_TRUE(started.ok()) << started.error().text();
    if (!started) ::_exit(1);
    return Guest{std::move(*started)};
  }

  test::TempDir dir_;
  std::optional<process::ChildProcess> child_;
  codec::json::Value ready_;
};

TEST_F(LabPlatformProcess, SaysWhereItIsAndEndsWhenAsked) {
  EXPECT_TRUE(fs::exists(path("root")));
  EXPECT_TRUE(fs::exists(path("collateral")));
  EXPECT_TRUE(*ready_.find("lab")->as_bool());
  EXPECT_EQ(*ready_.find("isolated")->as_bool(), process::Sandbox::probe().isolates());
  EXPECT_FALSE(ready_.find("sandbox")->as_string()->empty());
  auto guest = start();
  ::kill(child_->pid(), SIGTERM);
  EXPECT_EQ(child_->wait(soon())->text(), "exit 0");
  EXPECT_EQ(guest.life->wait(soon()).error().code(), Errc::peer_closed);
  EXPECT_FALSE(fs::exists(path("control")));
}

TEST_F(LabPlatformProcess, TakesItsTdsAlongWhenItIsKilled) {
  auto guest = start();
  EXPECT_FALSE(guest.ask("pid").empty());
  ::kill(child_->pid(), SIGKILL);  // that process alone
  EXPECT_TRUE(child_->wait(soon()).ok());
  EXPECT_EQ(guest.life->wait(soon()).error().code(), Errc::peer_closed);
  // The guest's end of the stream closes when its last process has gone.
  EXPECT_EQ(guest.end_of_stream(), Errc::peer_closed);
}

}  // namespace
}  // namespace cloister::lab_host
