// A guest from its launch to its end: a real image, a real challenge program, and a server that the test drives by hand
// at the other end of the stream.
#include "cloister/guest/guest.hpp"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <condition_variable>
#include <deque>
#include <future>
#include <mutex>
#include <utility>
#include <vector>

#include "cloister/channel/channel.hpp"
#include "cloister/crypto/hash.hpp"
#include "cloister/oci/layout.hpp"
#include "cloister/process/frame_socket.hpp"
#include "cloister/protocol/job.hpp"
#include "cloister/protocol/launch.hpp"
#include "cloister/protocol/messages.hpp"
#include "cloister/protocol/report_data.hpp"
#include "support/lab_server.hpp"
#include "support/support.hpp"

namespace cloister::guest {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

const VersionId kVersion = *VersionId::parse("ver-a");
const InstanceId kInstance = *InstanceId::parse("inst-a");

/// A TEE whose evidence nobody verifies here.
class Device final : public device::TeeDevice {
 public:
  Result<Bytes> report(const Digest64&) override { return Error{Errc::unsupported, "no report"}; }
  Result<void> extend_rtmr(unsigned, const Digest48&) override { return {}; }
  Result<device::Quote> quote(const Digest64& data) override { return device::Quote{to_bytes(ByteView{data}), {}}; }
};

/// Tells when the challenge began a job.
class Beginnings final : public log::Logger {
 public:
  void write(log::Level, std::string_view event, std::initializer_list<log::Field>) override {
    if (event != "challenge.log") return;
    const std::lock_guard lock{mutex_};
    ++begun_;
    changed_.notify_all();
  }
  [[nodiscard]] bool wait_for(int jobs) {
    std::unique_lock lock{mutex_};
    return changed_.wait_for(lock, seconds{30}, [&] { return begun_ >= jobs; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int begun_ = 0;
};

/// The machine's clock. A guest in haste waits for no more than a moment for whatever it begins to wait for.
class Hurry final : public Clock {
 public:
  [[nodiscard]] UnixTime now() const override { return machine_.now(); }
  [[nodiscard]] SteadyTime steady() const override { return machine_.steady() - (haste ? seconds{60} - milliseconds{200} : seconds{0}); }
  std::atomic<bool> haste = false;

 private:
  SystemClock machine_;
};

class GuestLaunch : public testing::Test {
 protected:
  static oci::BuiltImage image() {
    oci::ImageOptions options;
    options.entrypoint = {"/run"};
    auto built = oci::build_image({{"run", true, test::read_file(CLOISTER_TEST_CHALLENGE)}}, options);
    EXPECT_TRUE(built);
    return *std::move(built);
  }
  /// Starts a guest of the image with that digest, from these blobs, and gives it a stream.
  void launch(const Digest32& image_digest, const std::vector<std::pair<Digest32, Bytes>>& image_blobs) {
    device::Boot boot;
    for (const auto& [digest, bytes] : image_blobs) {
      blobs_.push_back(*process::sealed_memfd("blob", bytes));
      boot.blobs.emplace(digest, blobs_.back().get());
    }
    protocol::Configuration configuration;
    configuration.version = kVersion;
    configuration.image_digest = image_digest;
    configuration.server_keys = {server_key_.public_key()};
    configuration.demand = demand_;
    boot.configuration = protocol::encode(configuration);
    auto pair = *process::stream_pair();
    streams_.emplace(std::move(pair.first), process::FrameLimits{.bytes = 0, .descriptors = 0});
    give_stream();
    // The challenge ends with the thread that started it.
    guest_ = std::async(std::launch::async, [this, boot = std::move(boot), streams = std::move(pair.second)]() mutable {
      return run(std::move(boot), {device_, std::move(streams), scratch_.path(), clock_, guest_random_, logger_});
    });
  }
  /// The guest's next byte stream; the one before ends.
  void give_stream() {
    auto pair = *process::stream_pair();
    const int end = pair.second.get();
    ASSERT_TRUE(streams_->send({}, {&end, 1}, Deadline::after(clock_, seconds{30})));
    socket_ = std::move(pair.first);
    transport_.reset();
    received_.clear();
    const timeval patience{30, 0};
    ASSERT_EQ(::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
  }
  void TearDown() override {
    hang_up();
    if (guest_.valid()) guest_.wait();
  }
  /// Its host goes.
  void hang_up() {
    socket_.reset();
    streams_.reset();
  }
  /// The server's part, until the guest has attested over the newest stream; what it bound.
  protocol::Preimage attest(const char* session, const InstanceId& instance = kInstance) {
    shake_hands();
    protocol::Challenge challenge;
    challenge.instance = instance;
    send(challenge);
    if (demand_) send(protocol::ShownServer{prove(expect<protocol::Demand>().nonce)});
    return take_evidence(session);
  }
  /// Evidence of the server over this nonce, for this channel.
  [[nodiscard]] protocol::ServerProof prove(const ByteArray<32>& nonce) {
    auto proof = server_.prove(nonce, transport_->handshake_hash());
    EXPECT_TRUE(proof) << proof.error().text();
    return proof ? *std::move(proof) : protocol::ServerProof{};
  }
  protocol::Preimage take_evidence(const char* session) {
    const auto preimage = protocol::decode_preimage(expect<protocol::Attest>().preimage);
    EXPECT_TRUE(preimage);
    send(protocol::Accepted{*SessionId::parse(session), clock_.now() + seconds{3600}});
    return preimage ? *preimage : protocol::Preimage{};
  }
  void shake_hands() {
    const crypto::X25519Key* keys[] = {&server_key_};
    channel::Responder responder{keys, protocol::Role::instance, random_};
    while (!transport_) {
      auto accepted = responder.feed(read());
      ASSERT_TRUE(accepted) << accepted.error().text();
      if (!*accepted) continue;
      write((*accepted)->reply);
      transport_.emplace(std::move((*accepted)->transport));
    }
    transport_->allow(channel::kMaxMessage);
  }
  /// The server's part until the guest is ready.
  protocol::Preimage make_ready(const char* session = "ses-a") {
    const auto preimage = attest(session);
    payload_key_ = *preimage.key(protocol::kPayloadUse, "x25519");
    send(protocol::Release{});
    EXPECT_EQ(expect<protocol::Ready>().slots, 1U);
    return preimage;
  }

  void send(const protocol::ToTd& message) { write(*transport_->seal(protocol::encode(message))); }
  /// The next message that is no heartbeat.
  protocol::ToServer receive() {
    for (;;) {
      while (!received_.empty()) {
        auto message = protocol::decode_to_server(received_.front());
        received_.pop_front();
        EXPECT_TRUE(message);
        if (message && !std::holds_alternative<protocol::Heartbeat>(*message)) return *std::move(message);
      }
      const auto bytes = read();
      auto got = transport_->feed(bytes);
      if (bytes.empty() || !got) {
        ADD_FAILURE() << "nothing more is to come";
        return protocol::Attest{};
      }
      for (auto& message : got->messages) received_.push_back(std::move(message));
    }
  }
  template <class Message>
  Message expect() {
    auto message = receive();
    auto* wanted = std::get_if<Message>(&message);
    EXPECT_NE(wanted, nullptr) << "a message of another kind: " << message.index();
    return wanted == nullptr ? Message{} : std::move(*wanted);
  }
  /// Assigns a job with this payload.
  AttemptId assign(const char* attempt, std::string_view payload, milliseconds timeout = seconds{60}) {
    const auto salt = protocol::ClientJobKeys::salt(client_, attempt, to_bytes(payload));
    const auto keys = protocol::ClientJobKeys::derive(client_, salt);
    const auto request = protocol::seal_job(keys, kVersion, attempt, salt, to_bytes(payload), seconds{60});
    auto recipient = *protocol::seal_recipient(keys.content_key(), keys.job(), kVersion, kInstance, payload_key_,
                                               request.input_commitment, crypto::sha256(request.ciphertext), random_);
    protocol::AssignJob job;
    job.job = keys.job();
    job.attempt = *AttemptId::parse(attempt);
    job.fence = 1;
    job.version = kVersion;
    job.input_commitment = request.input_commitment;
    job.enc = recipient.enc;
    job.sealed_key = recipient.sealed_key;
    job.ciphertext = request.ciphertext;
    job.timeout_ms = static_cast<std::uint32_t>(timeout.count());
    send(job);
    return job.attempt;
  }
  /// The guest has ended, and not one byte came from it.
  [[nodiscard]] bool said_nothing() const {
    std::uint8_t byte = 0;
    return ::recv(socket_.get(), &byte, 1, 0) == 0;
  }
  /// Why the guest ended.
  Errc ended() { return guest_.get().code(); }

  Beginnings logger_;

  Bytes read() {
    Bytes buffer(64 * 1024);
    const auto n = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
    EXPECT_GT(n, 0) << "the guest said nothing more";
    buffer.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    return buffer;
  }
  void write(ByteView bytes) {
    EXPECT_EQ(::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
  }

  Hurry clock_;
  Device device_;
  test::TempDir scratch_;
  test::SeededRandom random_{1};
  test::SeededRandom guest_random_{2};
  crypto::X25519Key server_key_ = crypto::X25519Key::generate(random_);
  crypto::Secret<32> client_ = crypto::Secret<32>::random(random_);
  crypto::X25519Public payload_key_{};
  test::LabServer server_{clock_.now(), {server_key_.public_key()}};
  std::optional<model::EvidenceDemand> demand_;  // of the guest's configuration
  std::vector<process::UniqueFd> blobs_;
  process::UniqueFd socket_;
  std::optional<process::FrameSocket> streams_;
  std::optional<channel::Transport> transport_;
  std::deque<Bytes> received_;
  std::future<Error> guest_;
};

/// One that demands the server's evidence, and has said so.
class GuestThatDemands : public GuestLaunch {
 protected:
  void SetUp() override { demand_ = server_.demand; }
  /// The nonce of its demand, on its newest stream.
  ByteArray<32> demanded() {
    shake_hands();
    protocol::Challenge challenge;
    challenge.instance = kInstance;
    send(challenge);
    return expect<protocol::Demand>().nonce;
  }
  void launch_it() {
    const auto built = image();
    launch(built.digest, built.blobs);
  }
  /// Starts it, shows it this, and expects it to tell why, and to end with that, and nothing else.
  void expect_refused(Errc code, const std::function<protocol::ServerProof(const ByteArray<32>&)>& shown) {
    launch_it();
    const auto nonce = demanded();
    send(protocol::ShownServer{shown(nonce)});
    EXPECT_EQ(expect<protocol::Failed>().code, to_string(code));
    expect_silence();
    EXPECT_EQ(ended(), code);
  }
  /// The stream ends, and no message comes before.
  void expect_silence() {
    EXPECT_TRUE(received_.empty());
    EXPECT_TRUE(said_nothing());
  }
};

/// One that serves.
class GuestRun : public GuestLaunch {
 protected:
  void SetUp() override {
    const auto built = image();
    launch(built.digest, built.blobs);
    make_ready();
  }
};

/// One that has shaken hands, and waits for its challenge.
class GuestBefore : public GuestLaunch {
 protected:
  void SetUp() override {
    const auto built = image();
    launch(built.digest, built.blobs);
  }
};

TEST_F(GuestLaunch, OfAnImageThatWasChangedSaysNothingToAnybody) {
  const auto built = image();
  ASSERT_EQ(built.blobs.size(), 3U);  // layer, configuration, manifest
  for (std::size_t blob = 0; blob < built.blobs.size(); ++blob) {
    const auto size = built.blobs[blob].second.size();
    for (const auto at : {std::size_t{0}, size / 2, size - 1}) {
      auto blobs = built.blobs;
      blobs[blob].second[at] ^= 1;
      launch(built.digest, blobs);
      EXPECT_EQ(ended(), Errc::malformed) << blob << " at " << at;
      EXPECT_TRUE(said_nothing());
    }
  }
}

TEST_F(GuestLaunch, OfAnImageThatIsNotWholeSaysNothingToAnybody) {
  const auto built = image();
  for (std::size_t blob = 0; blob < built.blobs.size(); ++blob) {
    auto blobs = built.blobs;
    blobs.erase(blobs.begin() + static_cast<std::ptrdiff_t>(blob));
    launch(built.digest, blobs);
    EXPECT_EQ(ended(), Errc::not_found) << blob;
    EXPECT_TRUE(said_nothing());
  }
}

TEST_F(GuestBefore, EndsWhenAnotherMessageComesThanAChallenge) {
  shake_hands();
  send(protocol::Release{});
  EXPECT_EQ(ended(), Errc::channel_message_invalid);
}

TEST_F(GuestBefore, EndsWhenItsChallengeNamesNoInstance) {
  shake_hands();
  send(protocol::Challenge{});
  EXPECT_EQ(ended(), Errc::channel_message_invalid);
}

TEST_F(GuestBefore, EndsWhenItsEvidenceIsNeitherAcceptedNorRefused) {
  shake_hands();
  protocol::Challenge challenge;
  challenge.instance = kInstance;
  send(challenge);
  expect<protocol::Attest>();
  send(protocol::Release{});
  EXPECT_EQ(ended(), Errc::channel_message_invalid);
}

TEST_F(GuestBefore, EndsWhenNoReleaseFollows) {
  attest("ses-a");
  send(protocol::Accepted{*SessionId::parse("ses-a"), {}});
  EXPECT_EQ(ended(), Errc::channel_message_invalid);
}

TEST_F(GuestLaunch, TellsThatASecretIsNotForItAndEnds) {
  const auto built = image();
  const auto stranger = crypto::X25519Key::generate(random_).public_key();
  struct Sealing {
    bool to_stranger;
    const char* session;
    const char* path;
    std::uint64_t version;
  };
  for (const auto& sealing : {Sealing{true, "ses-a", "a/b", 1}, Sealing{false, "ses-b", "a/b", 1},
                              Sealing{false, "ses-a", "a/c", 1}, Sealing{false, "ses-a", "a/b", 2}}) {
    launch(built.digest, built.blobs);
    const auto mine = *attest("ses-a").key(protocol::kPayloadUse, "x25519");
    const auto info = protocol::release_info(*SessionId::parse(sealing.session), sealing.path, sealing.version);
    const auto sealed = crypto::hpke_seal(sealing.to_stranger ? stranger : mine, info, {}, as_bytes("sesame"), random_);
    ASSERT_TRUE(sealed);
    protocol::Release release;
    release.secrets.push_back({"name", "a/b", 1, sealed->enc, sealed->ciphertext});
    send(release);
    EXPECT_EQ(expect<protocol::Failed>().code, "decryption_failed");
    EXPECT_EQ(ended(), Errc::decryption_failed);
  }
}

TEST_F(GuestBefore, GivesItsChallengeTheDerivedKeysInEveryVersion) {
  payload_key_ = *attest("ses-a").key(protocol::kPayloadUse, "x25519");
  protocol::Release release;
  for (const std::uint64_t version : {10U, 9U}) {
    const auto info = protocol::key_release_info(*SessionId::parse("ses-a"), "disk", version);
    const auto sealed = *crypto::hpke_seal(payload_key_, info, {}, Bytes(32, static_cast<std::uint8_t>(version)), random_);
    release.keys.push_back({"disk", version, sealed.enc, sealed.ciphertext});
  }
  send(release);
  EXPECT_EQ(expect<protocol::Ready>().slots, 1U);
  assign("att-a", "keys");
  const auto result = expect<protocol::SubmitResult>();
  const auto envelope = protocol::decode_envelope(result.envelope);
  ASSERT_TRUE(envelope);
  model::JobResult stored;
  stored.job = envelope->job;
  stored.attempt = envelope->attempt;
  stored.enc = result.enc;
  stored.sealed_output = result.sealed_output;
  const auto salt = protocol::ClientJobKeys::salt(client_, "att-a", to_bytes("keys"));
  const auto output = protocol::open_output(protocol::ClientJobKeys::derive(client_, salt), *envelope, stored);
  ASSERT_TRUE(output) << output.error().text();
  std::string expected = "9 ";
  for (int i = 0; i < 32; ++i) expected += "09";
  expected += "\n10 ";
  for (int i = 0; i < 32; ++i) expected += "0a";
  EXPECT_EQ(as_text(output->reveal()), expected + '\n');
}

TEST_F(GuestLaunch, TellsThatADerivedKeyIsNotForItAndEnds) {
  const auto built = image();
  const auto stranger = crypto::X25519Key::generate(random_).public_key();
  const auto session = *SessionId::parse("ses-a");
  struct Sealing {
    bool to_stranger;
    Bytes info;
    std::size_t size;
    Errc code;
  };
  const Sealing sealings[] = {
      {true, protocol::key_release_info(session, "disk", 1), 32, Errc::decryption_failed},
      {false, protocol::key_release_info(*SessionId::parse("ses-b"), "disk", 1), 32, Errc::decryption_failed},
      {false, protocol::key_release_info(session, "swap", 1), 32, Errc::decryption_failed},
      {false, protocol::key_release_info(session, "disk", 2), 32, Errc::decryption_failed},
      {false, protocol::release_info(session, "disk", 1), 32, Errc::decryption_failed},
      {false, protocol::key_release_info(session, "disk", 1), 31, Errc::key_invalid}};
  for (const auto& sealing : sealings) {
    launch(built.digest, built.blobs);
    const auto mine = *attest("ses-a").key(protocol::kPayloadUse, "x25519");
    const auto sealed = crypto::hpke_seal(sealing.to_stranger ? stranger : mine, sealing.info, {}, Bytes(sealing.size), random_);
    ASSERT_TRUE(sealed);
    protocol::Release release;
    release.keys.push_back({"disk", 1, sealed->enc, sealed->ciphertext});
    send(release);
    EXPECT_EQ(expect<protocol::Failed>().code, to_string(sealing.code));
    EXPECT_EQ(ended(), sealing.code);
  }
}

TEST_F(GuestThatDemands, AttestsOnceTheServerHasProvedItselfOnEveryChannel) {
  launch_it();
  const auto preimage = make_ready();
  EXPECT_EQ(preimage.nonce, protocol::Challenge{}.nonce) << "the challenge of before waited";
  const auto attempt = assign("att-a", "echo");
  const auto result = expect<protocol::SubmitResult>();
  give_stream();
  make_ready("ses-b");
  EXPECT_EQ(expect<protocol::SubmitResult>().envelope, result.envelope);
  send(protocol::ResultAccepted{attempt});
  // Asked again on a channel whose server has proved itself, it attests.
  protocol::Challenge challenge;
  challenge.instance = kInstance;
  send(challenge);
  expect<protocol::Attest>();
}

TEST_F(GuestThatDemands, AsksWithAFreshNonce) {
  launch_it();
  const auto nonce = demanded();
  give_stream();
  EXPECT_NE(demanded(), nonce);
}

TEST_F(GuestThatDemands, EndsWhenTheServerHasNoTee) {
  launch_it();
  demanded();
  send(protocol::Refused{"unsupported", "no TEE"});
  expect_silence();
  EXPECT_EQ(ended(), Errc::unsupported);
}

TEST_F(GuestThatDemands, EndsWhenTheServerShowsNothing) {
  const protocol::ToTd others[] = {protocol::Accepted{*SessionId::parse("ses-a"), {}}, protocol::Release{}, protocol::Challenge{}};
  for (const auto& other : others) {
    launch_it();
    demanded();
    send(other);
    expect_silence();
    EXPECT_EQ(ended(), Errc::channel_message_invalid) << other.index();
  }
}

TEST_F(GuestThatDemands, EndsWhenTheServerProvesItselfBeforeItHasAsked) {
  launch_it();
  shake_hands();
  send(protocol::ShownServer{prove({})});
  expect_silence();
  EXPECT_EQ(ended(), Errc::channel_message_invalid);
}

TEST_F(GuestThatDemands, EndsWhenTheServerProvesItselfTwice) {
  launch_it();
  const auto proof = prove(demanded());
  send(protocol::ShownServer{proof});
  expect<protocol::Attest>();
  send(protocol::ShownServer{proof});
  expect_silence();
  EXPECT_EQ(ended(), Errc::channel_message_invalid);
}

TEST_F(GuestThatDemands, SaysNothingToAServerThatNeverAnswersAndComesBack) {
  launch_it();
  shake_hands();
  clock_.haste = true;
  protocol::Challenge challenge;
  challenge.instance = kInstance;
  send(challenge);
  expect<protocol::Demand>();
  expect_silence();
  clock_.haste = false;
  give_stream();
  make_ready();
}

TEST_F(GuestThatDemands, EndsWhenTheServerIsNotWhatItsConfigurationSays) {
  const auto right = [this](const ByteArray<32>& nonce) { return prove(nonce); };
  demand_->references[0].mrtd[0] ^= 1;
  expect_refused(Errc::measurement_mismatch, right);
  demand_ = server_.demand;
  demand_->references[0].configuration_digest[0] ^= 1;
  expect_refused(Errc::measurement_mismatch, right);
  demand_ = server_.demand;
  demand_->roots.clear();
  expect_refused(Errc::lab_root_not_trusted, right);
  demand_ = server_.demand;
  const auto stranger = lab::Platform::create(crypto::Secret<32>{ByteArray<32>{78}}, clock_.now());
  demand_->roots = {to_bytes(stranger.root())};
  expect_refused(Errc::lab_root_not_trusted, right);
  demand_ = server_.demand;
  demand_->not_before = clock_.now() + std::chrono::hours{24 * 40};  // when that collateral has ended, whatever the clock says
  expect_refused(Errc::pck_crl_expired, right);
}

TEST_F(GuestThatDemands, EndsWhenTheEvidenceIsOfAnotherNonceOrChannel) {
  expect_refused(Errc::nonce_invalid, [this](ByteArray<32> nonce) {
    nonce[0] ^= 1;
    return prove(nonce);
  });
  expect_refused(Errc::binding_mismatch, [this](const ByteArray<32>& nonce) { return *server_.prove(nonce, std::nullopt); });
  expect_refused(Errc::binding_mismatch, [this](const ByteArray<32>& nonce) {
    auto hash = transport_->handshake_hash();
    hash[0] ^= 1;
    return *server_.prove(nonce, hash);
  });
  expect_refused(Errc::report_data_mismatch, [this](const ByteArray<32>& nonce) {
    auto proof = *server_.prove(nonce, Digest32{});  // of another channel, with what was said changed afterwards
    auto preimage = *protocol::decode_server_preimage(proof.preimage);
    preimage.handshake_hash = transport_->handshake_hash();
    proof.preimage = protocol::encode(preimage);
    return proof;
  });
}

TEST_F(GuestThatDemands, EndsWhenTheEvidenceWasShownBefore) {
  launch_it();
  const auto before = prove(demanded());
  send(protocol::ShownServer{before});
  take_evidence("ses-a");
  give_stream();
  demanded();
  send(protocol::ShownServer{before});
  EXPECT_EQ(expect<protocol::Failed>().code, "nonce_invalid");
  EXPECT_EQ(ended(), Errc::nonce_invalid);
}

TEST_F(GuestThatDemands, EndsWhenTheServerDoesNotBindTheKeyOfTheChannel) {
  test::LabServer other{clock_.now(), {ByteArray<32>{1}}};
  demand_ = other.demand;
  expect_refused(Errc::binding_mismatch,
                 [&](const ByteArray<32>& nonce) { return *other.prove(nonce, transport_->handshake_hash()); });
}

TEST_F(GuestThatDemands, EndsWhenTheEvidenceIsNotWhole) {
  const auto changed = [this](auto change) {
    return [this, change](const ByteArray<32>& nonce) {
      auto proof = prove(nonce);
      change(proof);
      return proof;
    };
  };
  expect_refused(Errc::collateral_missing, changed([](auto& proof) { proof.collateral.clear(); }));
  expect_refused(Errc::quote_signature_invalid, changed([](auto& proof) { proof.evidence[100] ^= 1; }));
  expect_refused(Errc::event_log_mismatch, changed([](auto& proof) { proof.event_log = evidence::encode_guest_event_log({}); }));
  expect_refused(Errc::truncated, changed([](auto& proof) { proof.preimage.pop_back(); }));
  expect_refused(Errc::trailing_bytes, changed([](auto& proof) { proof.preimage.push_back(0); }));
}

/// What is no message ends the channel, as everywhere, and nothing was said.
TEST_F(GuestThatDemands, SaysNothingToAnAnswerThatIsNoMessage) {
  launch_it();
  const auto shown = [this](const ByteArray<32>& nonce) { return protocol::encode(protocol::ToTd{protocol::ShownServer{prove(nonce)}}); };
  const std::function<void(Bytes&)> changes[] = {[](Bytes& bytes) { bytes.pop_back(); },
                                                 [](Bytes& bytes) { bytes.push_back(0xF6); },
                                                 [](Bytes& bytes) {
                                                   ++bytes[0];  // one member more
                                                   bytes.push_back(0xF6);
                                                 }};
  for (const auto& change : changes) {
    auto bytes = shown(demanded());
    change(bytes);
    write(*transport_->seal(bytes));
    expect_silence();
    give_stream();
  }
  make_ready();
}

TEST_F(GuestLaunch, OfAConfigurationOfVersionTwoWithoutADemandSaysNothingToAnybody) {
  const auto built = image();
  demand_.emplace();  // names no server
  launch(built.digest, built.blobs);
  EXPECT_EQ(ended(), Errc::invalid_argument);
  EXPECT_TRUE(said_nothing());
}

TEST_F(GuestBefore, EndsWhenEvidenceIsShownThatItDidNotDemand) {
  shake_hands();
  send(protocol::ShownServer{prove({})});
  EXPECT_EQ(ended(), Errc::channel_message_invalid);
}

TEST_F(GuestRun, EndsWhenEvidenceIsShownThatItDidNotDemand) {
  send(protocol::ShownServer{prove({})});
  EXPECT_EQ(ended(), Errc::channel_message_invalid);
}

TEST_F(GuestRun, ExecutesJobsAndEndsWithItsStream) {
  for (const auto* name : {"att-a", "att-b"}) {
    const auto attempt = assign(name, "echo");
    const auto result = expect<protocol::SubmitResult>();
    EXPECT_EQ(result.attempt, attempt);
    EXPECT_EQ(protocol::decode_envelope(result.envelope)->status, "ok");
    send(protocol::ResultAccepted{attempt});
  }
  hang_up();
  EXPECT_EQ(ended(), Errc::peer_closed);
}

TEST_F(GuestRun, GoesOnOverANewStreamWithTheSameKeysAndBringsItsResultAgain) {
  const auto attempt = assign("att-a", "echo");
  const auto result = expect<protocol::SubmitResult>();
  give_stream();  // before anybody acknowledged it
  const auto preimage = make_ready("ses-b");
  EXPECT_EQ(preimage.key(protocol::kPayloadUse, "x25519"), payload_key_);
  const auto again = expect<protocol::SubmitResult>();
  EXPECT_EQ(again.attempt, attempt);
  EXPECT_EQ(again.envelope, result.envelope) << "done in the session of before";
  send(protocol::ResultAccepted{attempt});
  assign("att-b", "echo");
  EXPECT_EQ(protocol::decode_envelope(expect<protocol::SubmitResult>().envelope)->session, *SessionId::parse("ses-b"));
}

TEST_F(GuestRun, WorksOnWhileItHasNoStream) {
  const auto attempt = assign("att-a", "slowly");
  ASSERT_TRUE(logger_.wait_for(1));
  give_stream();
  make_ready("ses-b");
  EXPECT_EQ(expect<protocol::SubmitResult>().attempt, attempt);
}

TEST_F(GuestRun, AttestsAgainOnTheSameChannel) {
  protocol::Challenge challenge;
  challenge.instance = kInstance;
  challenge.nonce[0] = 7;
  send(challenge);
  const auto preimage = protocol::decode_preimage(expect<protocol::Attest>().preimage);
  ASSERT_TRUE(preimage);
  EXPECT_EQ(preimage->nonce, challenge.nonce);
  EXPECT_EQ(preimage->key(protocol::kPayloadUse, "x25519"), payload_key_);
  send(protocol::Accepted{*SessionId::parse("ses-b"), {}});
  assign("att-a", "echo");
  EXPECT_EQ(protocol::decode_envelope(expect<protocol::SubmitResult>().envelope)->session, *SessionId::parse("ses-b"));
}

TEST_F(GuestRun, EndsWhenItIsAskedToBeAnother) {
  give_stream();
  shake_hands();
  protocol::Challenge challenge;
  challenge.instance = *InstanceId::parse("inst-b");
  send(challenge);
  EXPECT_EQ(ended(), Errc::channel_message_invalid);
}

TEST_F(GuestRun, EndsWhenItsEvidenceIsRefused) {
  protocol::Challenge challenge;
  challenge.instance = kInstance;
  send(challenge);
  expect<protocol::Attest>();
  send(protocol::Refused{"conflict", "other keys"});
  EXPECT_EQ(ended(), Errc::conflict);
}

TEST_F(GuestRun, OutlivesAServerThatIsAnother) {
  const auto right = crypto::X25519Key::from_private(server_key_.private_key().clone());
  server_key_ = crypto::X25519Key::generate(random_);
  give_stream();
  const crypto::X25519Key* keys[] = {&server_key_};
  channel::Responder responder{keys, protocol::Role::instance, random_};
  EXPECT_FALSE(responder.feed(read())) << "a false server cannot finish the handshake";
  server_key_ = crypto::X25519Key::from_private(right.private_key().clone());
  give_stream();
  make_ready("ses-b");
}

TEST_F(GuestRun, SlotOfACancelledJobIsFreeOnceItsChallengeIsDone) {
  const auto first = assign("att-a", "slowly");
  ASSERT_TRUE(logger_.wait_for(1));
  send(protocol::CancelJob{first});
  const auto next = assign("att-b", "echo");
  EXPECT_EQ(expect<protocol::SubmitResult>().attempt, next);
}

TEST_F(GuestRun, JobThatMissesItsTimeEndsTheGuest) {
  const auto attempt = assign("att-a", "forever", milliseconds{1});
  const auto failed = expect<protocol::AttemptFailed>();
  EXPECT_EQ(failed.attempt, attempt);
  EXPECT_EQ(failed.code, "job_timeout");
  EXPECT_EQ(expect<protocol::Failed>().code, "job_timeout");
  EXPECT_EQ(ended(), Errc::job_timeout);
}

TEST_F(GuestRun, CancelledJobThatMissesItsTimeEndsTheGuestToo) {
  const auto attempt = assign("att-a", "forever", seconds{2});
  ASSERT_TRUE(logger_.wait_for(1));
  send(protocol::CancelJob{attempt});
  EXPECT_EQ(expect<protocol::Failed>().code, "job_timeout");
  EXPECT_EQ(ended(), Errc::job_timeout);
}

}  // namespace
}  // namespace cloister::guest
