#include "cloister/policy/server.hpp"

#include <gtest/gtest.h>

#include <functional>

#include "cloister/codec/text.hpp"
#include "cloister/crypto/hash.hpp"
#include "cloister/evidence/event_log.hpp"
#include "cloister/protocol/report_data.hpp"
#include "support/synthetic_platform.hpp"

namespace cloister::policy {
namespace {

using test::SyntheticPlatform;

/// A server in a lab's TD, and whoever trusts it. A test changes one thing before `show`, or what is trusted.
struct Server {
  SyntheticPlatform platform;
  protocol::ServerPreimage preimage;
  std::vector<evidence::GuestEvent> events;
  crypto::x509::CertificatePtr root;  // of what was shown last
  Bytes nonce = Bytes(32, 7);
  std::optional<Digest32> handshake_hash;

  Server() {
    platform.make_lab();
    preimage.nonce = nonce;
    preimage.identity.server_id = "srv-example";
    preimage.identity.channel_keys = {ByteArray<32>{1}, ByteArray<32>{2}};
    preimage.identity.audit_key = ByteArray<32>{3};
    preimage.identity.tls_key = Digest32{4};
    preimage.identity.configuration_digest = Digest32{5};
    const Digest32& digest = preimage.identity.configuration_digest;
    events = {{3, std::string{protocol::kServerConfigurationEvent}, to_bytes(ByteView{digest})}};
    auto& td = platform.td();
    td.mr_td = Digest48{6};
    td.rtmr = {Digest48{7}, Digest48{8}, Digest48{9}, server_rtmr3(digest)};
  }

  /// `what` changes the proof after it was made.
  protocol::ServerProof show(const std::function<void(protocol::ServerProof&)>& what = {}) {
    protocol::ServerProof out;
    out.preimage = protocol::encode(preimage);
    out.event_log = evidence::encode_guest_event_log(events);
    platform.td().report_data = protocol::report_data(out.preimage);
    auto built = platform.build();
    root = built.root;
    out.evidence = std::move(built.quote);
    out.collateral = evidence::write_quote_collateral(built.collateral);
    if (what) what(out);
    return out;
  }

  TrustFile trust() const {
    TrustFile out;
    out.lab_roots = {root};
    out.server_keys = {ByteArray<32>{1}};
    out.audit_keys = {ByteArray<32>{3}};
    out.server_reference_values = {{Digest48{6}, {Digest48{7}, Digest48{8}, Digest48{9}}, Digest32{5}}};
    return out;
  }

  Result<AppraisedServer> appraise(const protocol::ServerProof& proof, const TrustFile& trust) const {
    return appraise_server(proof, {nonce, handshake_hash}, trust, SyntheticPlatform::now());
  }
};

/// The code with which a proof is refused.
Errc refused(const Server& server, const protocol::ServerProof& proof, const TrustFile& trust) {
  const auto appraised = server.appraise(proof, trust);
  EXPECT_FALSE(appraised.ok());
  return appraised ? Errc::internal : appraised.error().code();
}
Errc refused(Server& server, const std::function<void(protocol::ServerProof&)>& what = {}) {
  const auto proof = server.show(what);
  return refused(server, proof, server.trust());
}
Errc refused_by(const std::function<void(TrustFile&)>& change) {
  Server server;
  const auto proof = server.show();
  auto trust = server.trust();
  change(trust);
  return refused(server, proof, trust);
}

/// The preimage encoded anew after a change, in the place of the one that the evidence binds.
std::function<void(protocol::ServerProof&)> with_preimage(const std::function<void(protocol::ServerPreimage&)>& change) {
  return [change](protocol::ServerProof& proof) {
    auto preimage = *protocol::decode_server_preimage(proof.preimage);
    change(preimage);
    proof.preimage = protocol::encode(preimage);
  };
}

TEST(ServerAppraisal, GivesWhatTheServerBound) {
  Server server;
  const auto proof = server.show();
  const auto appraised = server.appraise(proof, server.trust());
  ASSERT_TRUE(appraised.ok()) << appraised.error().text();
  EXPECT_EQ(appraised->identity(), server.preimage.identity);
  EXPECT_EQ(appraised->reference(), server.trust().server_reference_values[0]);
  EXPECT_TRUE(appraised->appraised().lab());
}

TEST(ServerAppraisal, RefusesAnotherNonce) {
  Server server;
  server.preimage.nonce[0] ^= 1;  // of an earlier question, in evidence that is whole
  EXPECT_EQ(refused(server), Errc::nonce_invalid);
  server.preimage.nonce = Bytes(16, 7);  // the beginning of the right one
  EXPECT_EQ(refused(server), Errc::nonce_invalid);
}

TEST(ServerAppraisal, RefusesAPreimageThatTheEvidenceDoesNotBind) {
  const std::function<void(protocol::ServerPreimage&)> changes[] = {
      [](auto& p) { p.nonce[0] ^= 1; },
      [](auto& p) { p.handshake_hash = Digest32{1}; },
      [](auto& p) { p.identity.server_id = "srv-other"; },
      [](auto& p) { p.identity.channel_keys[1][0] ^= 1; },
      [](auto& p) { p.identity.channel_keys.pop_back(); },
      [](auto& p) { p.identity.audit_key[0] ^= 1; },
      [](auto& p) { p.identity.tls_key.reset(); },
      [](auto& p) { p.identity.configuration_digest[0] ^= 1; },
  };
  for (const auto& change : changes) {
    Server server;
    EXPECT_EQ(refused(server, with_preimage(change)), Errc::report_data_mismatch);
  }
}

TEST(ServerAppraisal, RefusesThePreimageOfATd) {
  Server server;
  const auto proof = server.show([&](protocol::ServerProof& shown) {
    protocol::Preimage td;
    td.role = protocol::Role::validator;
    td.hotkey = ByteArray<32>{1};
    shown.preimage = protocol::encode(td);
    server.platform.td().report_data = protocol::report_data(shown.preimage);
    shown.evidence = server.platform.build().quote;
  });
  const auto appraised = server.appraise(proof, server.trust());
  ASSERT_FALSE(appraised.ok());
  EXPECT_EQ(appraised.error().code(), Errc::malformed) << appraised.error().text();  // nine members, and another domain
}

TEST(ServerAppraisal, RefusesAnotherChannel) {
  Server server;
  server.handshake_hash = Digest32{1};
  EXPECT_EQ(refused(server), Errc::binding_mismatch);  // evidence for HTTP
  server.preimage.handshake_hash = Digest32{2};
  EXPECT_EQ(refused(server), Errc::binding_mismatch);
  server.preimage.handshake_hash = Digest32{1};
  const auto proof = server.show();
  EXPECT_TRUE(server.appraise(proof, server.trust()).ok());
  server.handshake_hash.reset();
  EXPECT_EQ(refused(server, proof, server.trust()), Errc::binding_mismatch);  // evidence for a channel, over HTTP
}

TEST(ServerAppraisal, RefusesAnEventLogThatIsNotTheTds) {
  const auto with = [](const std::function<void(std::vector<evidence::GuestEvent>&)>& change) {
    Server server;
    change(server.events);
    return refused(server);
  };
  EXPECT_EQ(with([](auto& events) { events.clear(); }), Errc::event_log_mismatch);
  EXPECT_EQ(with([](auto& events) { events.push_back(events[0]); }), Errc::event_log_mismatch);
  EXPECT_EQ(with([](auto& events) { events[0].rtmr = 2; }), Errc::event_log_mismatch);
  EXPECT_EQ(with([](auto& events) { events[0].name = "configuration-digest"; }), Errc::event_log_mismatch);
  EXPECT_EQ(with([](auto& events) { events[0].payload.pop_back(); }), Errc::event_log_mismatch);
  EXPECT_EQ(with([](auto& events) { events[0].payload[0] ^= 1; }), Errc::event_log_mismatch);
  Server extended;  // the TD measured more than the log says
  extended.platform.td().rtmr[3][0] ^= 1;
  EXPECT_EQ(refused(extended), Errc::event_log_mismatch);
}

TEST(ServerAppraisal, RefusesAConfigurationThatTheServerDoesNotBind) {
  Server server;
  server.preimage.identity.configuration_digest[0] ^= 1;  // in evidence that is whole
  EXPECT_EQ(refused(server), Errc::measurement_mismatch);
}

TEST(ServerAppraisal, RefusesWhatMeetsNoReferenceValue) {
  const auto with = [](const std::function<void(ServerReference&)>& change) {
    return refused_by([&](TrustFile& trust) { change(trust.server_reference_values[0]); });
  };
  EXPECT_EQ(with([](auto& value) { value.mrtd[0] ^= 1; }), Errc::measurement_mismatch);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(with([i](auto& value) { value.rtmr[i][0] ^= 1; }), Errc::measurement_mismatch);
  EXPECT_EQ(with([](auto& value) { value.configuration_digest[0] ^= 1; }), Errc::measurement_mismatch);
  EXPECT_EQ(refused_by([](TrustFile& trust) { trust.server_reference_values.clear(); }), Errc::measurement_mismatch);
}

TEST(ServerAppraisal, NamesWhatDiffersFromTheNearestReferenceValue) {
  Server server;
  const auto proof = server.show();
  auto trust = server.trust();
  auto near = trust.server_reference_values[0];
  near.rtmr[1] = Digest48{0x55};
  trust.server_reference_values = {ServerReference{}, near};
  const auto appraised = server.appraise(proof, trust);
  ASSERT_FALSE(appraised.ok());
  EXPECT_NE(appraised.error().detail().find("RTMR1: expected 55"), std::string::npos) << appraised.error().text();
  trust.server_reference_values.push_back(server.trust().server_reference_values[0]);
  EXPECT_TRUE(server.appraise(proof, trust).ok());
}

TEST(ServerAppraisal, RefusesALabThatIsNotTrusted) {
  EXPECT_EQ(refused_by([](TrustFile& trust) { trust.lab_roots.clear(); }), Errc::lab_root_not_trusted);
}

TEST(ServerAppraisal, RefusesKeysThatTheTrustFileDoesNotName) {
  EXPECT_EQ(refused_by([](TrustFile& trust) { trust.server_keys = {ByteArray<32>{2}}; }), Errc::binding_mismatch);
  EXPECT_EQ(refused_by([](TrustFile& trust) { trust.audit_keys = {ByteArray<32>{2}}; }), Errc::audit_key_not_trusted);
  Server server;
  const auto proof = server.show();
  auto trust = server.trust();
  trust.server_keys.clear();
  trust.audit_keys.clear();
  EXPECT_TRUE(server.appraise(proof, trust).ok());  // any, where none is listed
}

TEST(ServerAppraisal, RefusesEvidenceWithoutCollateral) {
  Server server;
  EXPECT_EQ(refused(server, [](auto& proof) { proof.collateral.clear(); }), Errc::collateral_missing);
}

TEST(ServerAppraisal, RefusesEvidenceThatIsNotAuthenticOrNotOfATd) {
  Server server;
  EXPECT_EQ(refused(server, [](auto& proof) { proof.evidence[100] ^= 1; }), Errc::quote_signature_invalid);
  Server enclave;
  enclave.platform = SyntheticPlatform{evidence::TeeType::sgx, 3};
  enclave.platform.make_lab();
  protocol::ServerProof proof;
  proof.preimage = protocol::encode(enclave.preimage);
  proof.event_log = evidence::encode_guest_event_log(enclave.events);
  enclave.platform.enclave().report_data = protocol::report_data(proof.preimage);
  auto built = enclave.platform.build();
  enclave.root = built.root;
  proof.evidence = built.quote;
  proof.collateral = evidence::write_quote_collateral(built.collateral);
  EXPECT_EQ(refused(enclave, proof, enclave.trust()), Errc::evidence_unsupported);
}

TEST(ServerAppraisal, RefusesWhatItsPolicyRefuses) {
  Server debug;
  debug.platform.td().td_attributes |= 1;
  EXPECT_EQ(refused(debug), Errc::debug_not_accepted);
  Server old;
  old.platform.tcb_info.levels[0].status = evidence::TcbStatus::out_of_date;
  EXPECT_EQ(refused(old), Errc::tcb_status_not_accepted);
}

// --- a guest, whose measured configuration says what it wants ---

/// A server that shows evidence to a guest, and that guest. A test changes one thing before `show`, or what is wanted.
struct Guest : Server {
  ServerChannel channel{nonce, Digest32{0x21}, ByteArray<32>{1}};
  UnixTime clock = SyntheticPlatform::now();

  Guest() { preimage.handshake_hash = channel.handshake_hash; }
  [[nodiscard]] model::EvidenceDemand wanted() const {
    model::EvidenceDemand out;
    out.references = trust().server_reference_values;
    out.roots = {root->der};
    out.not_before = SyntheticPlatform::now() - std::chrono::hours{1};
    return out;
  }
};

Errc refused(const Guest& guest, const protocol::ServerProof& proof, const model::EvidenceDemand& wanted) {
  const auto appraised = appraise_server(proof, guest.channel, wanted, guest.clock);
  EXPECT_FALSE(appraised.ok());
  return appraised ? Errc::internal : appraised.error().code();
}
Errc refused(Guest& guest, const std::function<void(protocol::ServerProof&)>& what = {}) {
  const auto proof = guest.show(what);
  return refused(guest, proof, guest.wanted());
}
Errc refused_by(const std::function<void(model::EvidenceDemand&)>& change) {
  Guest guest;
  const auto proof = guest.show();
  auto wanted = guest.wanted();
  change(wanted);
  return refused(guest, proof, wanted);
}

TEST(ServerDemandedByAGuest, IsAcceptedWhenItIsWhatTheConfigurationSays) {
  Guest guest;
  const auto proof = guest.show();
  for (const auto& key : guest.preimage.identity.channel_keys) {  // the current one and the next
    guest.channel.server_key = key;
    const auto appraised = appraise_server(proof, guest.channel, guest.wanted(), guest.clock);
    ASSERT_TRUE(appraised.ok()) << appraised.error().text();
    EXPECT_EQ(appraised->identity(), guest.preimage.identity);
    EXPECT_EQ(appraised->reference(), guest.wanted().references[0]);
  }
}

TEST(ServerDemandedByAGuest, RefusesEvidenceOfAnotherQuestionOrChannel) {
  Guest other_nonce;
  other_nonce.preimage.nonce[0] ^= 1;
  EXPECT_EQ(refused(other_nonce), Errc::nonce_invalid);
  Guest for_http;
  for_http.preimage.handshake_hash.reset();
  EXPECT_EQ(refused(for_http), Errc::binding_mismatch);
  Guest other_channel;
  other_channel.preimage.handshake_hash = Digest32{0x22};
  EXPECT_EQ(refused(other_channel), Errc::binding_mismatch);
  Guest other_key;
  other_key.channel.server_key = ByteArray<32>{9};
  EXPECT_EQ(refused(other_key), Errc::binding_mismatch);
  Guest changed;
  EXPECT_EQ(refused(changed, with_preimage([](auto& p) { p.handshake_hash = Digest32{0x22}; })), Errc::report_data_mismatch);
}

TEST(ServerDemandedByAGuest, RefusesWhatTheConfigurationDoesNotName) {
  EXPECT_EQ(refused_by([](model::EvidenceDemand& d) { d.references[0].mrtd[0] ^= 1; }), Errc::measurement_mismatch);
  EXPECT_EQ(refused_by([](model::EvidenceDemand& d) { d.references[0].rtmr[1][0] ^= 1; }), Errc::measurement_mismatch);
  EXPECT_EQ(refused_by([](model::EvidenceDemand& d) { d.references[0].configuration_digest[0] ^= 1; }), Errc::measurement_mismatch);
  EXPECT_EQ(refused_by([](model::EvidenceDemand& d) { d.references.clear(); }), Errc::measurement_mismatch);
  EXPECT_EQ(refused_by([](model::EvidenceDemand& d) { d.roots.clear(); }), Errc::lab_root_not_trusted);
  EXPECT_EQ(refused_by([](model::EvidenceDemand& d) {
              Guest stranger;
              stranger.platform.root.key = stranger.platform.root.issuer_key = "another";
              stranger.show();
              d.roots = {stranger.root->der};
            }),
            Errc::lab_root_not_trusted);
}

TEST(ServerDemandedByAGuest, RefusesRootsThatAreNone) {
  EXPECT_EQ(refused_by([](model::EvidenceDemand& d) { d.roots = {Bytes(100, 1)}; }), Errc::certificate_malformed);
  EXPECT_EQ(refused_by([](model::EvidenceDemand& d) { d.roots[0].push_back(0); }), Errc::certificate_malformed);
  Guest guest;
  guest.show();
  auto leaf = crypto::x509::parse_chain(guest.platform.pck_chain());
  ASSERT_TRUE(leaf.ok());
  EXPECT_EQ(refused_by([&](model::EvidenceDemand& d) { d.roots = {leaf->front()->der}; }), Errc::root_untrusted);
}

TEST(ServerDemandedByAGuest, TakesARootThatIsNoLabsToo) {
  Guest guest;
  guest.platform = SyntheticPlatform{};
  guest.platform.td().mr_td = Digest48{6};
  guest.platform.td().rtmr = {Digest48{7}, Digest48{8}, Digest48{9}, server_rtmr3(Digest32{5})};
  const auto proof = guest.show();
  const auto appraised = appraise_server(proof, guest.channel, guest.wanted(), guest.clock);
  ASSERT_TRUE(appraised.ok()) << appraised.error().text();
  EXPECT_FALSE(appraised->appraised().lab());
}

TEST(ServerDemandedByAGuest, RefusesCollateralThatHadEndedBeforeTheVersionWas) {
  Guest guest;
  guest.platform.tcb_info.next_update = SyntheticPlatform::now() + std::chrono::hours{1};  // before all else ends
  const auto proof = guest.show();
  auto wanted = guest.wanted();
  const auto end = guest.platform.tcb_info.next_update;
  guest.clock = SyntheticPlatform::now() - std::chrono::hours{24 * 365};  // as its host likes it
  EXPECT_TRUE(appraise_server(proof, guest.channel, wanted, guest.clock).ok());
  wanted.not_before = end;
  EXPECT_TRUE(appraise_server(proof, guest.channel, wanted, guest.clock).ok());
  wanted.not_before = end + std::chrono::seconds{1};
  EXPECT_EQ(refused(guest, proof, wanted), Errc::tcb_info_expired);
  // Nor does it hold by a clock that is right.
  wanted = guest.wanted();
  guest.clock = end + std::chrono::seconds{1};
  EXPECT_EQ(refused(guest, proof, wanted), Errc::tcb_info_expired);
}

TEST(ServerDemandedByAGuest, RefusesCollateralThatBeginsAfterItsTime) {
  Guest guest;
  guest.platform.tcb_info.issue_date = SyntheticPlatform::now() - std::chrono::hours{24};  // after all else begins
  const auto proof = guest.show();
  auto wanted = guest.wanted();
  guest.clock = wanted.not_before = guest.platform.tcb_info.issue_date - std::chrono::seconds{1};
  EXPECT_EQ(refused(guest, proof, wanted), Errc::tcb_info_not_yet_valid);
  wanted.not_before += std::chrono::seconds{1};  // the later of the two counts
  EXPECT_TRUE(appraise_server(proof, guest.channel, wanted, guest.clock).ok());
}

TEST(ServerDemandedByAGuest, RefusesEvidenceWithoutCollateral) {
  Guest guest;
  EXPECT_EQ(refused(guest, [](auto& proof) { proof.collateral.clear(); }), Errc::collateral_missing);
}

TEST(ServerDemandedByAGuest, RefusesWhatItsPolicyRefuses) {
  Guest debug;
  debug.platform.td().td_attributes |= 1;
  EXPECT_EQ(refused(debug), Errc::debug_not_accepted);
  Guest revoked;
  revoked.platform.tcb_info.levels[0].status = evidence::TcbStatus::revoked;
  EXPECT_EQ(refused(revoked), Errc::tcb_status_not_accepted);
}

}  // namespace
}  // namespace cloister::policy
