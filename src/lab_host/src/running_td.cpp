#include "running_td.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>
#include <cerrno>

#include "cloister/device/boot.hpp"
#include "cloister/device/select.hpp"
#include "cloister/provider/td_image.hpp"

namespace cloister::lab_host {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kImageFolder = "/td/";

Result<SealedTd::File> seal_file(const provider::StartTd::File& file, int descriptor) {
  auto memfd = process::sealed_copy(file.path, descriptor, provider::kMaxImageFileSize);
  if (!memfd) return memfd.error().in("TD image");
  CLOISTER_TRY(mapping, process::SealedMapping::of(memfd->get()));
  return SealedTd::File{
      .path = file.path, .mode = file.mode, .memfd = std::move(*memfd), .mapping = std::move(mapping)};
}

Result<lab::tdx::Td> measure_and_build(const SealedTd& sealed, const std::shared_ptr<lab::tdx::Machine>& machine) {
  std::vector<measure::TdFile> files;
  for (const auto& file : sealed.files) {
    files.push_back({.path = file.path, .mode = file.mode, .contents = file.mapping.contents()});
  }
  return lab::tdx::launch(machine, {}, files);
}

std::string in_root(std::string_view path) { return std::string{kImageFolder} + std::string{path}; }

/// What is executed follows from the measured bytes alone.
Result<process::SandboxedCommand> command_of(const SealedTd& sealed) {
  process::SandboxedCommand command;
  for (const auto& file : sealed.files) {
    command.files.push_back({.path = in_root(file.path), .mode = file.mode, .memfd = file.memfd.get()});
  }
  const auto& program = sealed.files.front();
  command.program = in_root(program.path);
  command.scratch_bytes = std::size_t{sealed.memory_mib} << 20;
  // A machine that has a TEE of its own is not this TD's.
  process::SandboxWord device{"--device=" + std::string{device::to_string(device::DeviceKind::lab_socket)}};
  CLOISTER_TRY(interpreter, provider::elf_interpreter(program.mapping.contents()));
  if (!interpreter) {
    command.arguments = {std::move(device)};
    return command;
  }
  const auto loader = std::string{provider::kLibraryFolder} + interpreter->filename().native();
  const auto measured = [&](const auto& file) { return file.path == loader; };
  if (std::ranges::none_of(sealed.files, measured)) {
    return Error{Errc::invalid_argument, "TD image: " + program.path + " needs " + loader + ", which is not in it"};
  }
  command.arguments = {{"--inhibit-cache"},
                       {"--library-path"},
                       {in_root(provider::kLibraryFolder.substr(0, provider::kLibraryFolder.size() - 1)), true},
                       {command.program, true},
                       std::move(device)};
  command.program = in_root(loader);
  return command;
}

Result<process::UniqueFd> boot_information(const SealedTd& sealed) {
  device::Boot boot{.configuration = sealed.configuration, .blobs = {}};
  int descriptor = device::kFirstBlobDescriptor;
  for (const auto& digest : sealed.blob_digests) {
    if (!boot.blobs.emplace(digest, descriptor++).second) {
      return Error{Errc::invalid_argument, "start-td: each blob once expected"};
    }
  }
  return process::sealed_memfd("boot", device::encode(boot));
}

}  // namespace

Result<SealedTd> seal(provider::StartTd request, std::vector<process::UniqueFd> descriptors,
                      std::size_t max_blob_bytes) {
  if (descriptors.size() != request.files.size() + request.blobs.size()) {
    return Error{Errc::invalid_argument, "start-td: " + std::to_string(request.files.size() + request.blobs.size()) +
                                             " descriptors expected, got " + std::to_string(descriptors.size())};
  }
  SealedTd out{.files = {},
               .configuration = std::move(request.configuration),
               .memory_mib = request.memory_mib,
               .blob_digests = std::move(request.blobs),
               .blobs = {}};
  auto next = descriptors.begin();
  for (const auto& file : request.files) {
    CLOISTER_TRY(sealed, seal_file(file, (next++)->get()));
    out.files.push_back(std::move(sealed));
  }
  for (; next != descriptors.end(); ++next) {
    auto blob = process::sealed_copy("blob", next->get(), max_blob_bytes);
    if (!blob) return blob.error().in("TD blobs");
    CLOISTER_TRY(mapping, process::SealedMapping::of(blob->get()));
    max_blob_bytes -= mapping.contents().size();
    out.blobs.push_back(std::move(*blob));
  }
  return out;
}

Result<std::pair<RunningTd, TdEnds>> RunningTd::start(std::string id, const SealedTd& sealed,
                                                      const Silicon& silicon, const process::Sandbox& sandbox,
                                                      fs::path scratch) {
  CLOISTER_TRY(command, command_of(sealed));
  CLOISTER_TRY(td, measure_and_build(sealed, silicon.machine));
  CLOISTER_TRY(tee, process::stream_pair());
  CLOISTER_TRY(stream, process::stream_pair());
  CLOISTER_TRY(life, process::stream_pair());
  CLOISTER_TRY(console, process::pipe_pair());
  CLOISTER_TRY(boot, boot_information(sealed));
  if (::fcntl(console.first.get(), F_SETFL, O_NONBLOCK) != 0) return process::errno_error("console");
  command.descriptors = {{.source = console.second.get(), .target = STDOUT_FILENO},
                         {.source = console.second.get(), .target = STDERR_FILENO},
                         {.source = tee.second.get(), .target = device::kTeeDescriptor},
                         {.source = stream.second.get(), .target = device::kStreamDescriptor},
                         {.source = boot.get(), .target = device::kBootDescriptor}};
  int target = device::kFirstBlobDescriptor;
  for (const auto& blob : sealed.blobs) command.descriptors.push_back({.source = blob.get(), .target = target++});
  auto process = sandbox.start(command, scratch);
  if (!process) {
    std::error_code ignored;
    fs::remove_all(scratch, ignored);
    return std::move(process).error();
  }
  RunningTd running{std::move(id),
                    silicon,
                    std::move(td),
                    std::move(*process),
                    process::FrameSocket{std::move(tee.first), {.bytes = device::kMaxTeeRequest, .descriptors = 0}},
                    process::FrameSocket{std::move(life.first), {.bytes = 0, .descriptors = 0}},
                    std::move(console.first),
                    std::move(scratch)};
  return std::pair{std::move(running),
                   TdEnds{.stream = std::move(stream.first), .life = std::move(life.second)}};
}

RunningTd::RunningTd(std::string id, const Silicon& silicon, lab::tdx::Td td, process::ChildProcess process,
                     process::FrameSocket tee, process::FrameSocket life, process::UniqueFd console, fs::path scratch)
    : id_{std::move(id)},
      platform_{&silicon.platform},
      quote_format_{silicon.quote_format},
      td_{std::move(td)},
      process_{std::move(process)},
      tee_{std::move(tee)},
      life_{std::move(life)},
      console_{std::move(console)},
      scratch_{std::move(scratch)} {}

RunningTd::~RunningTd() {
  if (process_.pid() < 0) return;  // moved from
  (void)process_.stop(std::chrono::milliseconds{0});
  std::error_code ignored;
  fs::remove_all(scratch_, ignored);
}

Bytes RunningTd::answer(ByteView bytes) {
  const auto request = device::decode_tee_request(bytes);
  if (!request) return device::encode_tee_error(request.error());
  auto answered = perform(*request);
  return answered ? std::move(*answered) : device::encode_tee_error(answered.error());
}

Result<Bytes> RunningTd::td_report(const Digest64& report_data) const {
  const auto report = td_.tdg_mr_report(report_data);
  if (!report) return Error{Errc::unavailable, "the TD does not run"};
  return to_bytes(*report);
}

Result<Bytes> RunningTd::perform(const device::TeeRequest& request) {
  if (const auto* const extend = std::get_if<device::ExtendRequest>(&request)) {
    const auto status = td_.tdg_mr_rtmr_extend(lab::tdx::GuestLevel::user, extend->index, extend->digest);
    if (!status.ok()) return Error{Errc::permission_denied, std::string{lab::tdx::to_string(status.code())}};
    return device::encode_extend_answer();
  }
  if (const auto* const quoted = std::get_if<device::QuoteRequest>(&request)) {
    CLOISTER_TRY(report, td_report(quoted->report_data));
    CLOISTER_TRY(evidence, platform_->quote(report, quote_format_));
    return device::encode_quote_answer({.evidence = std::move(evidence), .collateral = {}});
  }
  CLOISTER_TRY(report, td_report(std::get<device::ReportRequest>(request).report_data));
  return device::encode_report_answer(report);
}

bool RunningTd::read_console() {
  std::array<char, 4096> buffer;
  if (!console_.valid()) return false;
  const auto got = ::read(console_.get(), buffer.data(), buffer.size());
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return false;
  if (got <= 0) {
    console_.reset();
    return false;
  }
  const std::string_view text{buffer.data(), static_cast<std::size_t>(got)};
  console_line_ += text;
  console_tail_ += text;
  if (console_tail_.size() > kConsoleTail) console_tail_.erase(0, console_tail_.size() - kConsoleTail);
  return true;
}

std::vector<std::string> RunningTd::take_lines() {
  std::vector<std::string> lines;
  std::size_t begin = 0;
  for (auto end = console_line_.find('\n'); end != std::string::npos; end = console_line_.find('\n', begin)) {
    lines.push_back(console_line_.substr(begin, end - begin));
    begin = end + 1;
  }
  console_line_.erase(0, begin);
  if (console_line_.size() > kConsoleTail || (!console_.valid() && !console_line_.empty())) {
    lines.push_back(std::exchange(console_line_, {}));
  }
  return lines;
}

}  // namespace cloister::lab_host
