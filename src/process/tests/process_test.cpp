#include <arpa/inet.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "cloister/process/child.hpp"
#include "cloister/process/confine.hpp"
#include "cloister/process/descriptor.hpp"
#include "cloister/process/frame_socket.hpp"
#include "cloister/process/private_memory.hpp"
#include "cloister/process/sandbox.hpp"
#include "cloister/process/unix_socket.hpp"
#include "support/support.hpp"

namespace cloister::process {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

const fs::path kProbe = CLOISTER_PROCESS_PROBE;

Deadline soon(std::chrono::milliseconds span = std::chrono::seconds{20}) {
  return Deadline{std::chrono::steady_clock::now() + span};
}

/// What comes out of `fd` until its other end closes.
std::string drain(int fd) {
  std::string out;
  char buffer[4096];
  for (;;) {
    const auto got = ::read(fd, buffer, sizeof buffer);
    if (got <= 0) return out;
    out.append(buffer, static_cast<std::size_t>(got));
  }
}

/// The first bytes that come out of `fd`.
std::string first_words(int fd) {
  char buffer[256];
  const auto got = ::read(fd, buffer, sizeof buffer);
  return {buffer, static_cast<std::size_t>(std::max<ssize_t>(got, 0))};
}

/// A pidfd of a process that is not our child; invalid when it is gone.
UniqueFd watch(pid_t pid) { return UniqueFd{static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))}; }

/// True when the process has ended by the deadline (a zombie counts).
bool ends(const UniqueFd& pidfd) { return !pidfd.valid() || wait_for(pidfd.get(), POLLIN, soon()).ok(); }

struct Outcome {
  ExitStatus status;
  std::string output;
};

Command probe(std::vector<std::string> words) {
  return {.program = kProbe, .arguments = std::move(words), .environment = {}, .descriptors = {}, .directory = "/",
          .limits = {}, .user = {}};
}

Outcome run(Command command) {
  auto pipe = pipe_pair();
  command.descriptors.push_back({.source = pipe->second.get(), .target = 1});
  auto child = ChildProcess::start(command);
  EXPECT_TRUE(child.ok()) << child.error().text();
  if (!child) return {};
  pipe->second.reset();
  auto output = drain(pipe->first.get());
  auto status = child->wait(soon());
  EXPECT_TRUE(status.ok());
  return {status ? *status : ExitStatus{}, std::move(output)};
}

TEST(UniqueFd, ClosesOnceAndMoves) {
  auto pair = stream_pair();
  ASSERT_TRUE(pair.ok());
  const int number = pair->first.get();
  UniqueFd moved{std::move(pair->first)};
  EXPECT_FALSE(pair->first.valid());
  EXPECT_EQ(moved.get(), number);
  moved = UniqueFd{};
  EXPECT_EQ(::fcntl(number, F_GETFD), -1);
  EXPECT_EQ(::fcntl(pair->second.get(), F_GETFD), FD_CLOEXEC);
}

TEST(SealedMemfd, CannotBeChanged) {
  auto memfd = sealed_memfd("x", as_bytes("abc"));
  ASSERT_TRUE(memfd.ok());
  EXPECT_EQ(::write(memfd->get(), "z", 1), -1);
  EXPECT_EQ(::ftruncate(memfd->get(), 0), -1);
  EXPECT_EQ(::fcntl(memfd->get(), F_ADD_SEALS, F_SEAL_WRITE), -1);
  EXPECT_EQ(::mmap(nullptr, 3, PROT_READ | PROT_WRITE, MAP_SHARED, memfd->get(), 0), MAP_FAILED);
  auto mapping = SealedMapping::of(memfd->get());
  ASSERT_TRUE(mapping.ok());
  EXPECT_EQ(as_text(mapping->contents()), "abc");
}

TEST(SealedMemfd, CopyDoesNotFollowItsSource) {
  test::TempDir dir;
  const auto path = dir.path() / "f";
  std::ofstream{path} << "first";
  auto source = open_file(path);
  ASSERT_TRUE(source.ok());
  auto copy = sealed_copy("f", source->get(), 5);
  ASSERT_TRUE(copy.ok()) << copy.error().text();
  std::ofstream{path} << "other";
  EXPECT_EQ(as_text(SealedMapping::of(copy->get())->contents()), "first");
}

TEST(SealedMemfd, CopyRefusesTooMuchAndOddSources) {
  auto memfd = sealed_memfd("x", as_bytes("abcd"));
  EXPECT_EQ(sealed_copy("y", memfd->get(), 3).error().code(), Errc::limit_exceeded);
  EXPECT_TRUE(sealed_copy("y", memfd->get(), 4).ok());
  auto pair = stream_pair();
  EXPECT_EQ(sealed_copy("y", pair->first.get(), 10).error().code(), Errc::invalid_argument);
  EXPECT_EQ(open_file("/dev/null").error().code(), Errc::invalid_argument);
}

TEST(SealedMemfd, SealingWaitsForThoseWhoHoldItsPages) {
  const UniqueFd memfd{::memfd_create("x", MFD_CLOEXEC | MFD_ALLOW_SEALING)};
  ASSERT_EQ(::ftruncate(memfd.get(), 4096), 0);
  void* const held = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, memfd.get(), 0);
  ASSERT_NE(held, MAP_FAILED);
  EXPECT_EQ(seal(memfd.get(), std::chrono::milliseconds{30}).error().code(), Errc::io_error);
  std::thread holder{[held] {
    ::poll(nullptr, 0, 50);
    ::munmap(held, 4096);
  }};
  EXPECT_TRUE(seal(memfd.get(), std::chrono::seconds{20}).ok());
  holder.join();
  EXPECT_TRUE(SealedMapping::of(memfd.get()).ok());
}

TEST(SealedMapping, RefusesWhatOthersCouldChange) {
  UniqueFd open{::memfd_create("x", MFD_CLOEXEC | MFD_ALLOW_SEALING)};
  EXPECT_EQ(SealedMapping::of(open.get()).error().code(), Errc::invalid_argument);
  EXPECT_TRUE(SealedMapping::of(sealed_memfd("empty", {})->get())->contents().empty());
}

struct FramePair {
  FrameSocket left;
  FrameSocket right;
};
FramePair frames(FrameLimits limits) {
  auto pair = stream_pair();
  return {FrameSocket{std::move(pair->first), limits}, FrameSocket{std::move(pair->second), limits}};
}

TEST(FrameSocket, CarriesFramesInOrderWithTheirDescriptors) {
  auto pair = frames({.bytes = 100, .descriptors = 2});
  auto a = sealed_memfd("a", as_bytes("A"));
  auto b = sealed_memfd("b", as_bytes("B"));
  const std::array both{a->get(), b->get()};
  ASSERT_TRUE(pair.left.send(as_bytes("none"), {}, soon()).ok());
  ASSERT_TRUE(pair.left.send(as_bytes("two"), both, soon()).ok());
  ASSERT_TRUE(pair.left.send({}, std::span{both}.first(1), soon()).ok());
  auto first = pair.right.receive(soon());
  auto second = pair.right.receive(soon());
  auto third = pair.right.receive(soon());
  ASSERT_TRUE(first.ok() && second.ok() && third.ok());
  EXPECT_EQ(as_text(first->payload), "none");
  EXPECT_TRUE(first->descriptors.empty());
  EXPECT_EQ(as_text(second->payload), "two");
  ASSERT_EQ(second->descriptors.size(), 2U);
  EXPECT_EQ(as_text(SealedMapping::of(second->descriptors[1].get())->contents()), "B");
  EXPECT_EQ(::fcntl(second->descriptors[0].get(), F_GETFD), FD_CLOEXEC);
  EXPECT_TRUE(third->payload.empty());
  EXPECT_EQ(third->descriptors.size(), 1U);
}

TEST(FrameSocket, CarriesMoreThanTheSocketHolds) {
  auto pair = frames({.bytes = 4U << 20, .descriptors = 0});
  Bytes large(4U << 20);
  for (std::size_t i = 0; i < large.size(); ++i) large[i] = static_cast<std::uint8_t>(i * 7);
  pair.left.queue(large);
  std::optional<Frame> got;
  while (!got) {
    ASSERT_TRUE(pair.left.flush().ok());
    auto next = pair.right.try_receive();
    ASSERT_TRUE(next.ok());
    got = std::move(*next);
  }
  EXPECT_EQ(got->payload, large);
  EXPECT_FALSE(pair.left.wants_write());
}

TEST(FrameSocket, RefusesTooManyBytes) {
  auto pair = frames({.bytes = 3, .descriptors = 0});
  ASSERT_TRUE(pair.left.send(as_bytes("four"), {}, soon()).ok());
  EXPECT_EQ(pair.right.receive(soon()).error().code(), Errc::limit_exceeded);
}

TEST(FrameSocket, RefusesTooManyDescriptors) {
  auto pair = frames({.bytes = 10, .descriptors = 1});
  auto memfd = sealed_memfd("a", {});
  const std::array two{memfd->get(), memfd->get()};
  ASSERT_TRUE(pair.left.send(as_bytes("x"), two, soon()).ok());
  EXPECT_EQ(pair.right.receive(soon()).error().code(), Errc::limit_exceeded);
}

TEST(FrameSocket, DistinguishesCloseFromTruncation) {
  auto pair = frames({});
  ASSERT_TRUE(pair.left.send(as_bytes("x"), {}, soon()).ok());
  pair.left.close();
  EXPECT_TRUE(pair.right.receive(soon()).ok());
  EXPECT_EQ(pair.right.receive(soon()).error().code(), Errc::peer_closed);

  auto raw = stream_pair();
  FrameSocket reader{std::move(raw->first), {}};
  ASSERT_EQ(::write(raw->second.get(), "\0\0\0\5ab", 6), 6);
  raw->second.reset();
  EXPECT_EQ(reader.receive(soon()).error().code(), Errc::truncated);
}

TEST(FrameSocket, EndsAtTheDeadline) {
  auto pair = frames({});
  EXPECT_EQ(pair.right.receive(soon(std::chrono::milliseconds{1})).error().code(), Errc::deadline_exceeded);
  const Bytes large(1U << 20);
  Result<void> sent;
  while (sent) sent = pair.left.send(large, {}, soon(std::chrono::milliseconds{1}));
  EXPECT_EQ(sent.error().code(), Errc::deadline_exceeded);
}

TEST(UnixSocket, IsPrivateKnowsItsPeerAndReplacesOnlyTheDead) {
  test::TempDir dir;
  const auto path = dir.path() / std::string(40, 'd') / std::string(60, 's');  // longer than an address holds
  fs::create_directory(path.parent_path());
  {
    auto listener = listen_at(path);
    ASSERT_TRUE(listener.ok()) << listener.error().text();
    EXPECT_EQ(fs::status(path).permissions(), fs::perms::owner_read | fs::perms::owner_write);
    EXPECT_FALSE(accept_from(listener->get())->valid());
    auto client = connect_to(path);
    ASSERT_TRUE(client.ok()) << client.error().text();
    auto server = accept_from(listener->get());
    ASSERT_TRUE(server->valid());
    EXPECT_EQ(peer_credentials(server->get())->uid, ::getuid());
    EXPECT_EQ(peer_credentials(server->get())->pid, ::getpid());
    EXPECT_EQ(listen_at(path).error().code(), Errc::conflict);
  }
  EXPECT_TRUE(listen_at(path).ok());
  std::ofstream{dir.path() / "file"} << "not a socket";
  EXPECT_FALSE(listen_at(dir.path() / "file").ok());
}

TEST(ChildProcess, ReportsHowItEnded) {
  EXPECT_EQ(run(probe({"exit", "0"})).status.text(), "exit 0");
  EXPECT_EQ(run(probe({"exit", "3"})).status.text(), "exit 3");
  EXPECT_EQ(run(probe({"abort"})).status.text(), "signal 6");
}

TEST(ChildProcess, SaysWhyItCouldNotStart) {
  auto command = probe({});
  command.program = "/nonexistent/program";
  EXPECT_THAT(ChildProcess::start(command).error().detail(), HasSubstr("execute: No such file"));
  command = probe({});
  command.directory = "/nonexistent";
  EXPECT_THAT(ChildProcess::start(command).error().detail(), HasSubstr("change directory"));
  command = probe({});
  command.program = "probe";
  EXPECT_EQ(ChildProcess::start(command).error().code(), Errc::invalid_argument);
  command = probe({std::string("a\0b", 3)});
  EXPECT_EQ(ChildProcess::start(command).error().code(), Errc::invalid_argument);
  command = probe({});
  command.descriptors = {{.source = 0, .target = 5}, {.source = 1, .target = 5}};
  EXPECT_EQ(ChildProcess::start(command).error().code(), Errc::invalid_argument);
}

TEST(ChildProcess, InheritsOnlyWhatIsNamed) {
  // Descriptors that are not close-on-exec, low and high, and a table that swaps two numbers.
  const UniqueFd leak{::fcntl(0, F_DUPFD, 100)};
  const UniqueFd high_leak{::fcntl(0, F_DUPFD, 1000)};
  ASSERT_TRUE(leak.valid() && high_leak.valid());
  auto pair = stream_pair();
  auto command = probe({"descriptors"});
  command.descriptors = {{.source = pair->first.get(), .target = pair->second.get()},
                         {.source = pair->second.get(), .target = pair->first.get()},
                         {.source = pair->first.get(), .target = 200}};
  const auto outcome = run(command);
  const auto low = std::min(pair->first.get(), pair->second.get());
  const auto high = std::max(pair->first.get(), pair->second.get());
  EXPECT_EQ(outcome.output, "0 1 2 " + std::to_string(low) + " " + std::to_string(high) + " 200 ");
}

TEST(ChildProcess, HasNoEnvironmentButItsOwn) {
  ::setenv("CLOISTER_LEAK", "1", 1);
  auto command = probe({"environment"});
  EXPECT_EQ(run(command).output, "");
  command.environment = {"A=b"};
  EXPECT_EQ(run(command).output, "A=b ");
}

TEST(ChildProcess, PassesADescriptorThatWorks) {
  auto pair = stream_pair();
  auto command = probe({"echo"});
  command.descriptors = {{.source = pair->second.get(), .target = 3}};
  auto child = ChildProcess::start(command);
  ASSERT_TRUE(child.ok());
  ASSERT_EQ(::write(pair->first.get(), "hello", 5), 5);
  EXPECT_EQ(first_words(pair->first.get()), "hello");
  EXPECT_TRUE(child->wait(soon())->success());
}

TEST(ChildProcess, StopKillsTheStubbornAndTheGroup) {
  auto pipe = pipe_pair();
  auto command = probe({"stubborn"});
  command.descriptors = {{.source = pipe->second.get(), .target = 1}};
  auto child = ChildProcess::start(command);
  ASSERT_TRUE(child.ok());
  EXPECT_EQ(first_words(pipe->first.get()), "ready");
  EXPECT_FALSE(child->poll().has_value());
  EXPECT_EQ(child->wait(soon(std::chrono::milliseconds{1})).error().code(), Errc::deadline_exceeded);
  EXPECT_EQ(child->stop(std::chrono::milliseconds{1}).signal, SIGKILL);
  EXPECT_EQ(child->stop(std::chrono::milliseconds{1}).signal, SIGKILL);
}

TEST(ChildProcess, TakesItsGroupAlongWhenTheObjectEnds) {
  auto pipe = pipe_pair();
  auto command = probe({"pause"});
  command.descriptors = {{.source = pipe->second.get(), .target = 1}};
  UniqueFd grandchild;
  {
    auto child = ChildProcess::start(command);
    ASSERT_TRUE(child.ok());
    grandchild = watch(std::stoi(first_words(pipe->first.get())));
    ASSERT_TRUE(grandchild.valid());
  }
  EXPECT_TRUE(ends(grandchild));
}

TEST(ChildProcess, TakesAlongWhatItWasGiven) {
  auto other = ChildProcess::start(probe({"pause"}));
  auto child = ChildProcess::start(probe({"pause"}));
  ASSERT_TRUE(other.ok() && child.ok());
  child->take_along(watch(other->pid()));
  auto moved = std::move(*child);
  EXPECT_FALSE(other->poll().has_value());
  (void)moved.stop(std::chrono::milliseconds{0});
  const auto status = other->wait(soon());
  ASSERT_TRUE(status.ok());
  EXPECT_EQ(status->signal, SIGKILL);
}

TEST(ChildProcess, DiesWithItsParent) {
  auto pipe = pipe_pair();
  Command command{.program = CLOISTER_PROCESS_LAUNCHER, .arguments = {kProbe.native()}, .environment = {},
                  .descriptors = {{.source = pipe->second.get(), .target = 1}}, .directory = "/", .limits = {}, .user = {}};
  auto parent = ChildProcess::start(command);
  ASSERT_TRUE(parent.ok());
  const auto child = watch(std::stoi(first_words(pipe->first.get())));
  ASSERT_TRUE(child.valid());
  ::kill(parent->pid(), SIGKILL);  // that process alone
  EXPECT_TRUE(ends(child));
}

TEST(ChildProcess, AppliesLimits) {
  auto command = probe({"descriptors"});
  command.limits.open_files = 4;
  const UniqueFd extra{::fcntl(0, F_DUPFD_CLOEXEC, 50)};
  EXPECT_EQ(run(command).output, "0 1 2 ");
  command.limits.memory_bytes = 4096;
  auto child = ChildProcess::start(command);
  EXPECT_TRUE(!child || !child->wait(soon())->success());
}

/// A listener on loopback outside of every sandbox.
struct Loopback {
  UniqueFd socket{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  std::string port;
  Loopback() {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    EXPECT_EQ(::bind(socket.get(), generic, size), 0);
    EXPECT_EQ(::listen(socket.get(), 4), 0);
    EXPECT_EQ(::getsockname(socket.get(), generic, &size), 0);
    port = std::to_string(ntohs(address.sin_port));
  }
};

class SandboxTest : public ::testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    sandbox_ = GetParam() ? Sandbox::probe() : Sandbox::none("asked for");
    if (sandbox_->isolates() != GetParam()) GTEST_SKIP() << sandbox_->description();
    program_ = std::move(*sealed_copy("probe", open_file(kProbe)->get(), 64U << 20));
  }

  Outcome run_inside(std::vector<SandboxWord> words, std::vector<Inherited> descriptors = {}) {
    auto pipe = pipe_pair();
    descriptors.push_back({.source = pipe->second.get(), .target = 1});
    const SandboxedCommand command{.files = {{.path = "/td/probe", .mode = 0755, .memfd = program_.get()}},
                                   .program = "/td/probe",
                                   .arguments = std::move(words),
                                   .descriptors = std::move(descriptors)};
    auto child = sandbox_->start(command, dir_.path() / std::to_string(++count_));
    EXPECT_TRUE(child.ok()) << child.error().text();
    if (!child) return {};
    pipe->second.reset();
    auto output = drain(pipe->first.get());
    return {*child->wait(soon()), std::move(output)};
  }

  test::TempDir dir_;
  std::optional<Sandbox> sandbox_;
  UniqueFd program_;
  int count_ = 0;
};

TEST_P(SandboxTest, RunsTheFileWithTheListedDescriptorsOnly) {
  auto pair = stream_pair();
  const auto outcome = run_inside({{"descriptors"}}, {{.source = pair->first.get(), .target = 3}});
  EXPECT_EQ(outcome.output, "0 1 2 3 ");
  EXPECT_EQ(run_inside({{"exit"}, {"7"}}).status.code, 7);
  EXPECT_EQ(run_inside({{"environment"}}).output, GetParam() ? "PWD=/tmp " : "");
}

TEST_P(SandboxTest, HasAnEmptyWritableWorkingDirectory) {
  EXPECT_EQ(run_inside({{"write"}, {"new"}}).status.code, 0);
  EXPECT_EQ(run_inside({{"list"}, {"."}}).output.size(), std::string{". .. "}.size());
}

TEST_P(SandboxTest, NamesFilesOfTheRoot) {
  EXPECT_EQ(run_inside({{"read"}, {"/td/probe", true}}).status.code, 0);
}

TEST_P(SandboxTest, CannotChangeItsProgram) {
  if (GetParam()) {
    EXPECT_NE(run_inside({{"write"}, {"/td/probe", true}}).status.code, 0);
    EXPECT_EQ(run_inside({{"write"}, {"/new"}}).status.code, EROFS);
  } else if (::geteuid() != 0) {
    EXPECT_EQ(run_inside({{"write"}, {"/td/probe", true}}).status.code, EACCES);
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, SandboxTest, ::testing::Bool(),
                         [](const auto& kind) { return kind.param ? "Bubblewrap" : "Plain"; });

class IsolationTest : public SandboxTest {};

TEST_P(IsolationTest, SeesNothingOfTheMachine) {
  EXPECT_THAT(run_inside({{"list"}, {"/"}}).output, Not(HasSubstr("etc")));
  EXPECT_EQ(run_inside({{"read"}, {dir_.path().native()}}).status.code, ENOENT);
  EXPECT_THAT(run_inside({{"list"}, {"/proc"}}).output, Not(HasSubstr(std::to_string(::getpid()))));
  const Loopback loopback;
  EXPECT_NE(run_inside({{"connect"}, {loopback.port}}).status.code, 0);
  EXPECT_EQ(run(probe({"connect", loopback.port})).status.code, 0);
  EXPECT_THAT(run_inside({{"read"}, {"/proc/self/status"}}).output, HasSubstr("CapBnd:\t0000000000000000"));
}

TEST_P(IsolationTest, TakesApartSessionsAlong) {
  // As often as it takes to stop one while bubblewrap has not bound it to itself yet.
  for (int round = 0; round < 20; ++round) {
    auto pipe = pipe_pair();
    const SandboxedCommand command{.files = {{.path = "/td/probe", .mode = 0755, .memfd = program_.get()}},
                                   .program = "/td/probe",
                                   .arguments = {{"pause_apart"}},
                                   .descriptors = {{.source = pipe->second.get(), .target = 1}}};
    auto child = sandbox_->start(command, dir_.path() / "unused");
    ASSERT_TRUE(child.ok());
    pipe->second.reset();
    if (round % 2 == 0) {
      EXPECT_FALSE(first_words(pipe->first.get()).empty());
    }
    (void)child->stop(std::chrono::milliseconds{0});
    (void)drain(pipe->first.get());  // ends when the last holder of the pipe has
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, IsolationTest, ::testing::Values(true), [](const auto&) { return "Bubblewrap"; });

class ConfineTest : public ::testing::Test {
 protected:
  void SetUp() override {
    fs::copy_file(kProbe, root() / "probe");
    for (const char* name : {"tmp", "dev", "proc"}) fs::create_directory(root() / name);
    fs::permissions(root(), fs::perms::all);  // for nobody, when root tests
  }
  [[nodiscard]] const fs::path& root() const { return dir_.path(); }

  Outcome run_inside(std::vector<std::string> words, std::vector<Inherited> descriptors = {}) {
    auto pipe = pipe_pair();
    descriptors.push_back({.source = pipe->second.get(), .target = 1});
    auto confined = run_confined({.root = root(), .program = "/probe", .arguments = std::move(words), .environment = {},
                                  .descriptors = std::move(descriptors), .limits = {}});
    EXPECT_TRUE(confined.ok()) << confined.error().text();
    if (!confined) return {};
    isolated_ = confined->isolated;
    EXPECT_FALSE(confined->not_isolated.empty());
    pipe->second.reset();
    auto output = drain(pipe->first.get());
    return {*confined->process.wait(soon()), std::move(output)};
  }

  test::TempDir dir_;
  bool isolated_ = false;
};

TEST_F(ConfineTest, DropsPrivilegesAndDescriptors) {
  EXPECT_EQ(run_inside({"no_new_privileges"}).status.code, 1);
  auto pair = stream_pair();
  EXPECT_EQ(run_inside({"descriptors"}, {{.source = pair->first.get(), .target = 3}}).output, "0 1 2 3 ");
  EXPECT_EQ(run_inside({"environment"}).output, "");
}

TEST_F(ConfineTest, HasOnlyItsImage) {
  (void)run_inside({"pid"});
  if (!isolated_) GTEST_SKIP() << "the kernel gives no namespaces here";
  EXPECT_EQ(run_inside({"pid"}).output, "1");
  EXPECT_EQ(run_inside({"uid"}).output, "1000");
  EXPECT_THAT(run_inside({"list", "/"}).output, Not(HasSubstr("etc")));
  EXPECT_EQ(run_inside({"write", "/new"}).status.code, EROFS);
  EXPECT_EQ(run_inside({"write", "/tmp/new"}).status.code, 0);
  EXPECT_FALSE(fs::exists(root() / "tmp" / "new"));
  EXPECT_EQ(run_inside({"write", "/dev/null"}).status.code, 0);
  EXPECT_EQ(run_inside({"write", "/dev/new"}).status.code, EROFS);
  const Loopback loopback;
  EXPECT_NE(run_inside({"connect", loopback.port}).status.code, 0);
  EXPECT_THAT(run_inside({"list", "/proc"}).output, Not(HasSubstr(" 2 ")));
}

TEST_F(ConfineTest, IsolatesAlsoForAStarterThatAllowsNoDumps) {
  (void)run_inside({"pid"});
  if (!isolated_) GTEST_SKIP() << "the kernel gives no namespaces here";
  ::prctl(PR_SET_DUMPABLE, 0);
  EXPECT_EQ(run_inside({"pid"}).output, "1");
  EXPECT_TRUE(isolated_);
  ::prctl(PR_SET_DUMPABLE, 1);
}

TEST(PrivateMemory, IsNeitherDumpedNorLookedInto) {
  const auto check = [] {
    keep_memory_private();
    rlimit limit{1, 1};
    ::getrlimit(RLIMIT_CORE, &limit);
    ::_exit(::prctl(PR_GET_DUMPABLE) == 0 && limit.rlim_cur == 0 && limit.rlim_max == 0 ? 0 : 1);
  };
  EXPECT_EXIT(check(), testing::ExitedWithCode(0), "");
}

TEST_F(ConfineTest, DoesNotMountThroughLinksOfTheImage) {
  test::TempDir outside;
  fs::remove(root() / "tmp");
  fs::create_symlink(outside.path(), root() / "tmp");
  const auto outcome = run_inside({"write", "/tmp/new"});
  if (!isolated_) GTEST_SKIP() << "the kernel gives no namespaces here";
  EXPECT_NE(outcome.status.code, 0);
  EXPECT_TRUE(fs::is_empty(outside.path()));
}

TEST_F(ConfineTest, SaysWhyItCouldNotStart) {
  auto confined = run_confined({.root = root(), .program = "/absent", .arguments = {}, .environment = {}, .descriptors = {},
                                .limits = {}});
  ASSERT_FALSE(confined.ok());
  EXPECT_THAT(confined.error().detail(), HasSubstr("/absent"));
  EXPECT_FALSE(run_confined({.root = "relative", .program = "/probe", .arguments = {}, .environment = {},
                             .descriptors = {}, .limits = {}})
                   .ok());
}

}  // namespace
}  // namespace cloister::process
