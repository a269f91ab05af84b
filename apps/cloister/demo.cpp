#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <functional>
#include <iomanip>
#include <memory>

#include "cli.hpp"
#include "cloister/client/job_runner.hpp"
#include "cloister/codec/text.hpp"
#include "example.hpp"
#include "files.hpp"
#include "keys.hpp"
#include "render.hpp"
#include "system.hpp"

namespace cloister::cli {
namespace {

namespace fs = std::filesystem;
namespace json = codec::json;
using std::chrono::milliseconds;

const std::size_t kMaxPayload = model::ChallengeSpec{}.max_payload_bytes;  // what the example's version allows
constexpr std::chrono::seconds kReadyTimeout{30};

struct Options {
  std::vector<fs::path> inputs;
  std::string keyword = "cloister";
  std::optional<fs::path> data;
  bool beside_tee = false;
};

/// A folder that is removed at the end, unless somebody asked to keep it.
class DataFolder {
 public:
  static Result<DataFolder> make(const std::optional<fs::path>& kept) {
    if (kept) return DataFolder{*kept, false};
    std::error_code failure;
    const auto parent = fs::temp_directory_path(failure);
    if (failure) {
      return Error{Errc::io_error, "TMPDIR, or /tmp: " + failure.message() + "; name another folder with TMPDIR or --data"};
    }
    auto pattern = (parent / "cloister-demo-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) return process::errno_error(pattern);
    return DataFolder{pattern, true};
  }
  DataFolder(DataFolder&& other) noexcept : path_{std::move(other.path_)}, temporary_{std::exchange(other.temporary_, false)} {}
  ~DataFolder() {
    std::error_code ignored;
    if (temporary_) fs::remove_all(path_, ignored);
  }
  /// The logs stay, to say what went wrong; keys and tokens do not.
  void keep_logs() {
    if (!std::exchange(temporary_, false)) return;
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator{path_, ignored}) {
      if (entry.path().filename() != "logs") fs::remove_all(entry.path(), ignored);
    }
  }
  [[nodiscard]] const fs::path& path() const noexcept { return path_; }

 private:
  DataFolder(fs::path path, bool temporary) : path_{std::move(path)}, temporary_{temporary} {}
  fs::path path_;
  bool temporary_;
};

/// Holds back the signals that would end this process, while it lives. Make it before what they must not leave behind.
class HeldSignals {
 public:
  HeldSignals() {
    ::sigemptyset(&held_);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGCHLD}) ::sigaddset(&held_, signal);
    ::pthread_sigmask(SIG_BLOCK, &held_, &before_);
  }
  ~HeldSignals() { release(); }
  HeldSignals(const HeldSignals&) = delete;
  HeldSignals& operator=(const HeldSignals&) = delete;
  void release() const { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  [[nodiscard]] int wait() const { return ::sigwaitinfo(&held_, nullptr); }

 private:
  sigset_t held_{};
  sigset_t before_{};
};

/// Runs `work` in a process of its own and returns its exit code, 128 and more where a signal ended it. When this
/// returns, whether `work` is done, fell over or was interrupted (Ctrl-C, SIGTERM, SIGHUP), every process that it had
/// started is gone: nobody writes to its folder any longer. Call it while there is one thread.
Result<int> run_supervised(const HeldSignals& signals, const std::function<int()>& work) {
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);  // orphans of the worker become ours to wait for
  const auto self = ::getpid();
  const auto worker = ::fork();
  if (worker < 0) return process::errno_error("fork");
  if (worker == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != self) ::_exit(128 + SIGKILL);
    signals.release();
    ::_exit(work());
  }
  int status = 0;
  int interrupted = 0;
  while (::waitpid(worker, &status, WNOHANG) == 0) {
    const int signal = signals.wait();
    if (signal <= 0 || signal == SIGCHLD) continue;
    interrupted = signal;
    ::kill(worker, SIGKILL);  // and with it, as the kernel sees to, what it started
  }
  while (::waitpid(-1, nullptr, 0) > 0 || errno == EINTR) continue;
  if (interrupted != 0) return 128 + interrupted;
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/// Prints the steps of the main job, each with the time that it took.
class Steps {
 public:
  explicit Steps(std::ostream& out) : out_{out}, begun_{std::chrono::steady_clock::now()}, last_{begun_} {}
  void step(std::string_view title) {
    out_ << '\n' << ++number_ << ". " << title << '\n';
    last_ = std::chrono::steady_clock::now();
  }
  void done(std::string_view what) {
    const auto now = std::chrono::steady_clock::now();
    out_ << "   " << what << " (" << std::chrono::duration_cast<milliseconds>(now - last_).count() << " ms)" << std::endl;
    last_ = now;
  }
  void note(std::string_view what) { out_ << "   " << what << std::endl; }
  [[nodiscard]] milliseconds total() const {
    return std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - begun_);
  }

 private:
  std::ostream& out_;
  std::chrono::steady_clock::time_point begun_;
  std::chrono::steady_clock::time_point last_;
  int number_ = 0;
};

/// The texts that ship with the sources, wherever a build finds them.
Result<std::vector<fs::path>> example_texts() {
  std::error_code failure;
  auto folder = fs::read_symlink("/proc/self/exe", failure).parent_path();
  for (int up = 0; up < 5 && !folder.empty(); ++up, folder = folder.parent_path()) {
    const auto texts = folder / "examples" / "texts";
    if (!fs::is_directory(texts, failure)) continue;
    std::vector<fs::path> files;
    for (const auto& entry : fs::directory_iterator{texts, failure}) files.push_back(entry.path());
    std::ranges::sort(files);
    if (!files.empty()) return files;
  }
  return Error{Errc::not_found, "the example texts are not beside this program; name files of your own with --input"};
}

/// What the challenge counts: letters and digits; of UTF-8, whatever is not ASCII counts as a letter.
bool is_word(std::string_view text) {
  return !text.empty() && codec::is_utf8(as_bytes(text)) && std::ranges::all_of(text, [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte >= 0x80 || std::isalnum(byte) != 0;
  });
}

struct Inputs {
  Bytes payload;  // as the challenge takes it
  std::size_t bytes = 0;
};

Error too_large(std::string_view what) {
  return Error{Errc::limit_exceeded, std::string{what} + ": a job takes at most " + std::to_string(kMaxPayload >> 20) +
                                         " MiB, names and JSON escapes included; give fewer or smaller files"};
}

/// Refuses what is no text or too much, and says which file it is.
Result<Inputs> read_inputs(const std::vector<fs::path>& files, const std::string& keyword) {
  Inputs out;
  json::Array documents;
  for (const auto& file : files) {
    // The name alone, unless another file has it too.
    const bool unique = std::ranges::count_if(files, [&](const fs::path& other) {
                          return other.filename() == file.filename();
                        }) == 1;
    const auto name = unique ? file.filename().string() : file.string();
    if (!codec::is_utf8(as_bytes(name))) return Error{Errc::unsupported, "a file's name is not UTF-8: " + printable(name)};
    auto bytes = read_file(file, kMaxPayload);
    if (!bytes && bytes.error().code() == Errc::limit_exceeded) return too_large(file.string());
    if (!bytes) return bytes.error();
    out.bytes += bytes->size();
    if (out.bytes > kMaxPayload) return too_large("the files together");
    if (!codec::is_utf8(*bytes)) return Error{Errc::unsupported, file.string() + " is not a UTF-8 text"};
    documents.emplace_back(json::Object{{"name", name}, {"text", as_text(*bytes)}});
  }
  out.payload = to_bytes(json::write(json::Object{{"keyword", keyword}, {"documents", std::move(documents)}}));
  if (out.payload.size() > kMaxPayload) return too_large(files.size() == 1 ? files.front().string() : "the files together");
  return out;
}

std::string short_hex(ByteView bytes) { return codec::to_hex(bytes.first(8)) + "…"; }

/// The six steps.
class Demo {
 public:
  Demo(const Options& options, Context& context)
      : options_{options}, context_{context}, out_{context.out}, steps_{context.out} {}

  /// The exit code; an error of what comes before the first step.
  Result<int> run() {
    if (!is_word(options_.keyword)) {
      return Error{Errc::invalid_argument, "--keyword: one word of letters and digits expected"};
    }
    auto files = options_.inputs;
    if (files.empty()) {
      CLOISTER_TRY(examples, example_texts());
      files = std::move(examples);
    }
    CLOISTER_TRY(inputs, read_inputs(files, options_.keyword));
    payload_ = std::move(inputs.payload);
    out_ << "Searching " << files.size() << (files.size() == 1 ? " file (" : " files (") << inputs.bytes
         << " bytes) for \"" << options_.keyword << "\" inside a confidential VM.\n"
         << "LAB ONLY - NOT HARDWARE: the VM is simulated on this machine; formats, checks and protocols are real." << std::endl;

    const HeldSignals signals;
    CLOISTER_TRY(folder, DataFolder::make(options_.data));
    CLOISTER_TRY(code, run_supervised(signals, [&] {
      const auto done = run_in(folder.path());
      if (!done) {
        context_.fail(Error{done.error().code(),
                            done.error().detail() + " (logs: " + (folder.path() / "logs").string() + ")"});
      }
      context_.out.flush();
      context_.err.flush();
      return done ? kOk : kFailed;
    }));
    if (code == kFailed) folder.keep_logs();
    return code;
  }

 private:
  Result<void> run_in(const fs::path& data) {
    CLOISTER_TRY(system, System::make(data, 0));
    CLOISTER_CHECK(register_challenge(system));
    CLOISTER_CHECK(enrol_validator(system));
    CLOISTER_CHECK(wait_for_instance(system));
    CLOISTER_TRY(secret, load_or_make_secret(data / "client.secret"));
    CLOISTER_TRY(finished, run_job(secret));
    CLOISTER_CHECK(show_result(finished));
    return {};
  }

  Result<void> register_challenge(System& system) {
    steps_.step("A challenge is registered: an image, and what a TEE will measure when it runs it");
    CLOISTER_TRY(sandbox, system.start_platform(options_.beside_tee));
    steps_.done("lab platform runs; TDs are held by " + sandbox);
    CLOISTER_CHECK(system.learn_server_keys());
    CLOISTER_TRY(example, plan_example(system.programs().keyword_search, system.programs().guest, system.server_keys()));
    challenge_ = example.spec.challenge;
    version_ = example.planned.id;
    const auto reference = example.reference();
    trust_ = system.trust();
    trust_.reference_values = {reference};
    CLOISTER_CHECK(write_file("trust.json", policy::write_trust_file(trust_), Readers::everyone));
    steps_.done("reference value computed from your own files: MRTD " + short_hex(reference.mrtd) + ", image sha256:" +
                short_hex(reference.image_digest) + ", configuration sha256:" +
                short_hex(reference.configuration_digest));
    CLOISTER_CHECK(system.start_server());
    CLOISTER_TRY(token, system.admin_token());
    CLOISTER_TRY(orchestrator, client::Orchestrator::connect(system.url(), token));
    orchestrator_.emplace(std::move(orchestrator));
    steps_.done("server runs at " + system.url());
    CLOISTER_CHECK(register_example(*orchestrator_, example));
    steps_.done("registered " + challenge_.str() + " as " + version_.str() + ", with a secret that it needs");
    return {};
  }

  Result<void> enrol_validator(System& system) {
    steps_.step("A validator offers its host, and proves it by a TD of its own");
    CLOISTER_TRY(validator, orchestrator_->enrol(system.hotkey()));
    CLOISTER_CHECK(system.start_validator());
    CLOISTER_CHECK(wait(system, "the validator to be verified", [&]() -> Result<bool> {
      CLOISTER_TRY(now, orchestrator_->enrol(system.hotkey()));
      return now.state == model::ValidatorState::verified;
    }));
    steps_.done(validator.id.str() + ": hotkey signature, and a TDX quote that binds the hotkey");
    return {};
  }

  Result<void> wait_for_instance(System& system) {
    steps_.step("An instance starts, attests, and only then gets its secret");
    model::Instance ready;
    CLOISTER_CHECK(wait(system, "an instance to be ready", [&]() -> Result<bool> {
      CLOISTER_TRY(instances, orchestrator_->ready_instances(version_));
      if (instances.empty()) return false;
      ready = std::move(instances.front());
      return true;
    }));
    steps_.done(ready.id.str() + ": quote over its channel, measurement as registered, secret sealed to a key in the quote");
    return {};
  }

  Result<client::FinishedJob> run_job(const crypto::Secret<32>& secret) {
    steps_.step("Your files are sealed to the instance, after this program verified its evidence itself");
    SystemRandom random;
    const SystemClock clock;
    client::JobRunner runner{*orchestrator_, trust_, secret, clock, random};
    client::JobEvents events;
    bool leased = false;
    events.accepted = [&](const client::VerifiedInstance& instance) {
      steps_.done(instance.id.str() + ": chain up to the lab's root, TCB " +
                  std::string{attestation::to_string(instance.tcb)} + ", MRTD " + short_hex(instance.mrtd) +
                  " as in trust.json");
    };
    events.refused = [&](const InstanceId& id, const Error& why) { steps_.note(id.str() + " refused: " + why.text()); };
    events.progressed = [&](const model::Job& job) {
      if (leased) return;
      leased = true;
      steps_.note("submitted as " + job.id.str());
      steps_.step("The job is leased to the instance and executed inside it");
    };
    const auto key = random_id("demo", random);
    CLOISTER_TRY(finished, runner.run({challenge_, version_, key, payload_}, events));
    steps_.done("executed by " + finished.envelope.instance.str() + ", attempt with fence " +
                std::to_string(finished.envelope.fence) + ", envelope signed by a key in its evidence");
    return finished;
  }

  Result<void> show_result(const client::FinishedJob& finished) {
    steps_.step("The result is opened here, with a receipt that anyone can check offline");
    if (finished.envelope.status != "ok") {
      return Error{Errc::challenge_failed,
                   "the challenge answered with an error: " + printable(as_text(finished.output.reveal()))};
    }
    CLOISTER_TRY(output, json::parse(as_text(finished.output.reveal())));
    const auto* counts = output.find("counts");
    if (counts == nullptr || counts->as_array() == nullptr) return Error{Errc::malformed, "the challenge gave no counts"};
    out_ << '\n';
    for (const auto& item : *counts->as_array()) {
      json::Fields fields{item, "count"};
      const auto name = fields.string("name");
      const auto count = fields.integer("count", 0);
      CLOISTER_CHECK(fields.finish_lenient());
      out_ << "   " << printable(name) << ": " << count << '\n';
    }
    out_ << '\n';
    // It holds the key that opens the commitments.
    CLOISTER_CHECK(write_file("receipt.json", json::write_pretty(receipt::to_json(finished.receipt)) + "\n", Readers::owner));
    steps_.done("receipt.json and trust.json are in this folder, in place of those of an earlier run");
    out_ << "   check the one against the other with:\n\n     " << fs::read_symlink("/proc/self/exe").string() << " receipt verify receipt.json --trust trust.json\n\n"
         << "Done in " << std::fixed << std::setprecision(1) << static_cast<double>(steps_.total().count()) / 1000
         << " s." << std::endl;
    return {};
  }

  /// Asks again and again until `reached`, an error, a dead process, or the time is over.
  template <class Condition>
  Result<void> wait(System& system, std::string_view what, Condition reached) {
    const SystemClock clock;
    const auto deadline = Deadline::after(clock, kReadyTimeout);
    for (;;) {
      CLOISTER_TRY(now, reached());
      if (now) return {};
      if (const auto gone = system.ended(); !gone.empty()) {
        return Error{Errc::unavailable, "the " + gone + " process ended while waiting for " + std::string{what}};
      }
      if (clock.steady() > deadline.at()) {
        return Error{Errc::deadline_exceeded, "waited " + std::to_string(kReadyTimeout.count()) + " s for " + std::string{what}};
      }
      ::usleep(20'000);
    }
  }

  const Options& options_;
  Context& context_;
  std::ostream& out_;
  Steps steps_;
  Bytes payload_;
  ChallengeId challenge_;
  VersionId version_;
  policy::TrustFile trust_;
  std::optional<client::Orchestrator> orchestrator_;
};

}  // namespace

void add_demo(CLI::App& app, Context& context) {
  auto* demo = app.add_subcommand("demo", "The main job, start to finish, on your own text files");
  const auto options = std::make_shared<Options>();
  demo->add_option("--input", options->inputs, "UTF-8 text files to search, 4 MiB together; without any, the examples");
  demo->add_option("--keyword", options->keyword, "the word to count, whatever the case of its ASCII letters");
  demo->add_option("--data", options->data, "keep state and logs in this directory");
  demo->add_flag("--beside-tee", options->beside_tee, "start the lab also on a machine that has a TEE of its own");
  demo->callback([options, &context] {
    const auto code = Demo{*options, context}.run();
    if (!code) return context.fail(code.error());
    context.exit_code = *code;
  });
}

}  // namespace cloister::cli
