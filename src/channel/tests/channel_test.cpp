#include "cloister/channel/channel.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "cloister/codec/text.hpp"
#include "support/support.hpp"
#include "transport.hpp"

namespace cloister::channel {
namespace {

using crypto::X25519Key;
using protocol::Role;

/// Where the length prefix is skipped.
ByteView body(ByteView frame) { return frame.subspan(kLengthSize); }

class Handshake : public testing::Test {
 protected:
  [[nodiscard]] Responder server() { return Responder{keys_, Role::instance, random_}; }
  [[nodiscard]] Initiator td() { return Initiator{key_.public_key(), Role::instance, random_}; }

  test::SeededRandom random_{1};
  X25519Key key_ = X25519Key::generate(random_);
  std::vector<const X25519Key*> keys_{&key_};
};

TEST_F(Handshake, BothEndsAgree) {
  auto initiator = td();
  auto responder = server();
  auto accepted = responder.feed(initiator.start().value()).value();
  ASSERT_TRUE(accepted.has_value());
  auto transport = initiator.feed(accepted->reply).value();
  ASSERT_TRUE(transport.has_value());
  EXPECT_EQ(transport->handshake_hash(), accepted->transport.handshake_hash());
  EXPECT_EQ(transport->server_key(), key_.public_key());
  EXPECT_EQ(accepted->transport.server_key(), key_.public_key());
}

TEST_F(Handshake, EveryChannelHasAHashOfItsOwn) {
  auto first = td();
  auto second = td();
  auto responder_1 = server();
  auto responder_2 = server();
  const auto a = responder_1.feed(first.start().value()).value()->transport.handshake_hash();
  EXPECT_NE(a, responder_2.feed(second.start().value()).value()->transport.handshake_hash());
}

TEST_F(Handshake, BytesMayComeOneByOne) {
  auto initiator = td();
  auto responder = server();
  const auto first = initiator.start().value();
  std::optional<Responder::Accepted> accepted;
  for (std::size_t i = 0; i < first.size(); ++i) {
    ASSERT_FALSE(accepted.has_value());
    accepted = responder.feed(ByteView{first}.subspan(i, 1)).value();
  }
  ASSERT_TRUE(accepted.has_value());
  std::optional<Transport> transport;
  for (std::size_t i = 0; i < accepted->reply.size(); ++i) {
    ASSERT_FALSE(transport.has_value());
    transport = initiator.feed(ByteView{accepted->reply}.subspan(i, 1)).value();
  }
  EXPECT_TRUE(transport.has_value());
}

TEST_F(Handshake, WhatArrivesBehindItWaitsInTheTransport) {
  auto initiator = td();
  auto responder = server();
  auto accepted = responder.feed(initiator.start().value()).value();
  auto wire = accepted->reply;
  append(wire, accepted->transport.seal(as_bytes("challenge")).value());
  auto transport = initiator.feed(wire).value();
  const auto received = transport->feed({}).value();
  ASSERT_EQ(received.messages.size(), 1U);
  EXPECT_EQ(as_text(received.messages.front()), "challenge");
}

TEST_F(Handshake, ServerAnswersForEachOfItsKeys) {
  const auto next = X25519Key::generate(random_);
  keys_.push_back(&next);
  auto responder = server();
  Initiator initiator{next.public_key(), Role::instance, random_};
  auto accepted = responder.feed(initiator.start().value()).value();
  EXPECT_EQ(accepted->transport.server_key(), next.public_key());
  EXPECT_TRUE(initiator.feed(accepted->reply).value().has_value());
}

TEST_F(Handshake, ServerRefusesAMessageForAnotherKey) {
  const auto other = X25519Key::generate(random_);
  Initiator initiator{other.public_key(), Role::instance, random_};
  EXPECT_EQ(server().feed(initiator.start().value()).error().code(), Errc::handshake_failed);
}

TEST_F(Handshake, ServerRefusesAnotherRole) {
  Initiator initiator{key_.public_key(), Role::validator, random_};
  EXPECT_EQ(server().feed(initiator.start().value()).error().code(), Errc::handshake_failed);
}

TEST_F(Handshake, ServerRefusesEveryChangedByte) {
  const auto first = td().start().value();
  for (std::size_t i = 0; i < first.size(); ++i) {
    auto changed = first;
    changed[i] ^= 1;
    EXPECT_EQ(server().feed(changed).error().code(), Errc::handshake_failed) << i;
  }
}

TEST_F(Handshake, TdRefusesEveryChangedByte) {
  for (std::size_t i = 0; i < 50; ++i) {
    auto initiator = td();
    auto responder = server();
    auto reply = responder.feed(initiator.start().value()).value()->reply;
    ASSERT_EQ(reply.size(), 50U);
    reply[i] ^= 1;
    EXPECT_EQ(initiator.feed(reply).error().code(), Errc::handshake_failed) << i;
  }
}

TEST_F(Handshake, TdRefusesAServerWithoutTheKey) {
  auto initiator = td();
  const auto first = initiator.start().value();
  const auto false_key = X25519Key::generate(random_);
  noise::NkResponder impostor{prologue(Role::instance), false_key};
  EXPECT_FALSE(impostor.read(body(first)).ok());
  Bytes reply;
  append_frame(reply, impostor.write({}, X25519Key::generate(random_)).value().first);
  EXPECT_EQ(initiator.feed(reply).error().code(), Errc::handshake_failed);
}

TEST_F(Handshake, TdRefusesTheAnswerToAnother) {
  auto first = td();
  auto second = td();
  auto responder = server();
  const auto reply = responder.feed(first.start().value()).value()->reply;
  static_cast<void>(second.start());
  EXPECT_EQ(second.feed(reply).error().code(), Errc::handshake_failed);
}

TEST_F(Handshake, TdRefusesItsOwnMessage) {
  auto initiator = td();
  EXPECT_EQ(initiator.feed(initiator.start().value()).error().code(), Errc::channel_reflected);
}

TEST_F(Handshake, ServerKeyOfLowOrderIsRefused) {
  Initiator initiator{crypto::X25519Public{}, Role::instance, random_};
  EXPECT_EQ(initiator.start().error().code(), Errc::key_invalid);
}

TEST_F(Handshake, EphemeralKeyOfLowOrderIsRefused) {
  Bytes frame;
  append_frame(frame, Bytes(48));
  EXPECT_EQ(server().feed(frame).error().code(), Errc::handshake_failed);
  auto initiator = td();
  static_cast<void>(initiator.start());
  EXPECT_EQ(initiator.feed(frame).error().code(), Errc::handshake_failed);
}

TEST_F(Handshake, AnotherLengthIsRefusedBeforeTheMessageIsThere) {
  EXPECT_EQ(server().feed(ByteArray<2>{0, 47}).error().code(), Errc::handshake_failed);
  EXPECT_EQ(server().feed(ByteArray<2>{0, 49}).error().code(), Errc::handshake_failed);
  EXPECT_EQ(server().feed(ByteArray<2>{0xFF, 0xFF}).error().code(), Errc::handshake_failed);
}

TEST_F(Handshake, RefusalIsFinal) {
  auto responder = server();
  EXPECT_FALSE(responder.feed(ByteArray<2>{0, 0}).ok());
  EXPECT_EQ(responder.feed(td().start().value()).error().code(), Errc::handshake_failed);
}

TEST_F(Handshake, HappensOnce) {
  auto initiator = td();
  auto responder = server();
  const auto first = initiator.start().value();
  const auto accepted = responder.feed(first).value();
  EXPECT_FALSE(responder.feed(first).ok());
  EXPECT_TRUE(initiator.feed(accepted->reply).ok());
  EXPECT_FALSE(initiator.feed(accepted->reply).ok());
}

class Channel : public Handshake {
 protected:
  Channel() {
    auto initiator = td();
    auto responder = server();
    auto accepted = responder.feed(initiator.start().value()).value();
    td_ = initiator.feed(accepted->reply).value();
    server_ = std::move(accepted->transport);
  }

  [[nodiscard]] Errc refusal(ByteView wire) {
    const auto received = server_->feed(wire);
    return received.ok() ? Errc::internal : received.error().code();
  }
  /// A frame of the TD's with this plaintext, whatever the rules say.
  [[nodiscard]] Bytes frame(ByteView plaintext) {
    Bytes out;
    append_frame(out, TransportAccess::state(*td_).session.send.encrypt({}, plaintext));
    return out;
  }
  [[nodiscard]] Bytes fragment(FrameKind kind, std::size_t size) {
    Bytes plaintext(1 + size);
    plaintext.front() = static_cast<std::uint8_t>(kind);
    return frame(plaintext);
  }
  [[nodiscard]] Bytes message(std::size_t size) {
    Bytes out(size);
    random_.fill(out);
    return out;
  }

  std::optional<Transport> td_;
  std::optional<Transport> server_;
};

TEST_F(Channel, CarriesMessagesBothWays) {
  EXPECT_EQ(as_text(server_->feed(td_->seal(as_bytes("up")).value()).value().messages.at(0)), "up");
  EXPECT_EQ(as_text(td_->feed(server_->seal(as_bytes("down")).value()).value().messages.at(0)), "down");
}

TEST_F(Channel, CarriesMessagesOfEverySizeAroundTheFragment) {
  td_->allow(kMaxMessage);
  server_->allow(kMaxMessage);
  for (const auto size : {std::size_t{0}, std::size_t{1}, kMaxFragment - 1, kMaxFragment, kMaxFragment + 1,
                          2 * kMaxFragment, 2 * kMaxFragment + 1, std::size_t{3} << 20}) {
    const auto sent = message(size);
    const auto wire = td_->seal(sent).value();
    const auto frames = std::max<std::size_t>(1, (size + kMaxFragment - 1) / kMaxFragment);
    EXPECT_EQ(wire.size(), size + frames * (kLengthSize + 1 + crypto::kTagSize)) << size;
    const auto received = server_->feed(wire).value();
    ASSERT_EQ(received.messages.size(), 1U) << size;
    EXPECT_TRUE(same_bytes(received.messages.front(), sent)) << size;
  }
}

TEST_F(Channel, StreamMayBeCutAnywhere) {
  Bytes wire;
  for (const auto* text : {"one", "two", "three"}) append(wire, td_->seal(as_bytes(text)).value());
  std::vector<std::string> got;
  for (std::size_t i = 0; i < wire.size(); ++i) {
    const auto received = server_->feed(ByteView{wire}.subspan(i, 1)).value();
    for (const auto& one : received.messages) got.emplace_back(as_text(one));
  }
  EXPECT_EQ(got, (std::vector<std::string>{"one", "two", "three"}));
}

TEST_F(Channel, CloseEndsTheStream) {
  const auto wire = td_->close().value();
  EXPECT_TRUE(server_->feed(wire).value().closed);
  EXPECT_TRUE(server_->end_of_stream().ok());
  EXPECT_EQ(td_->seal({}).error().code(), Errc::channel_closed);
  EXPECT_EQ(td_->rekey().error().code(), Errc::channel_closed);
  EXPECT_EQ(td_->close().error().code(), Errc::channel_closed);
}

TEST_F(Channel, PeerMaySendOnAfterOurClose) {
  static_cast<void>(td_->close());
  EXPECT_EQ(td_->feed(server_->seal(as_bytes("last words")).value()).value().messages.size(), 1U);
}

TEST_F(Channel, AnythingAfterCloseIsRefused) {
  auto wire = td_->close().value();
  append(wire, fragment(FrameKind::last, 1));
  EXPECT_EQ(refusal(wire), Errc::channel_closed);
}

TEST_F(Channel, HalfAFrameAfterCloseIsRefused) {
  EXPECT_TRUE(server_->feed(td_->close().value()).ok());
  EXPECT_EQ(refusal(ByteArray<1>{0}), Errc::channel_closed);
}

TEST_F(Channel, TruncationShows) {
  EXPECT_TRUE(server_->feed(td_->seal(as_bytes("x")).value()).ok());
  EXPECT_EQ(server_->end_of_stream().error().code(), Errc::channel_truncated);
  EXPECT_EQ(server_->seal({}).error().code(), Errc::channel_truncated);
}

TEST_F(Channel, TruncationWithinAFrameShows) {
  auto wire = td_->seal(as_bytes("x")).value();
  wire.pop_back();
  EXPECT_TRUE(server_->feed(wire).value().messages.empty());
  EXPECT_EQ(server_->end_of_stream().error().code(), Errc::channel_truncated);
}

TEST_F(Channel, ReplayIsRefused) {
  const auto wire = td_->seal(as_bytes("x")).value();
  EXPECT_TRUE(server_->feed(wire).ok());
  EXPECT_EQ(refusal(wire), Errc::channel_replayed);
}

TEST_F(Channel, ReorderingIsRefused) {
  static_cast<void>(td_->seal(as_bytes("first")));
  EXPECT_EQ(refusal(td_->seal(as_bytes("second")).value()), Errc::channel_reordered);
}

TEST_F(Channel, ReflectionIsRefused) {
  const auto wire = server_->seal(as_bytes("x")).value();
  EXPECT_EQ(refusal(wire), Errc::channel_reflected);
}

TEST_F(Channel, FrameFromAnotherChannelIsRefused) {
  auto initiator = td();
  auto responder = server();
  auto other = initiator.feed(responder.feed(initiator.start().value()).value()->reply).value();
  EXPECT_EQ(refusal(other->seal(as_bytes("x")).value()), Errc::decryption_failed);
}

TEST_F(Channel, EveryChangedByteOfAMessageIsRefused) {
  const auto wire = td_->seal(as_bytes("message")).value();
  for (std::size_t i = kLengthSize; i < wire.size(); ++i) {
    auto changed = wire;
    changed[i] ^= 1;
    EXPECT_EQ(refusal(changed), Errc::decryption_failed) << i;
    TransportAccess::state(*server_).failure.reset();  // as if the changed frame had not come
  }
  EXPECT_EQ(server_->feed(wire).value().messages.size(), 1U);
}

TEST_F(Channel, RefusalIsFinal) {
  const auto good = td_->seal(as_bytes("x")).value();
  EXPECT_EQ(refusal(ByteArray<4>{0, 2, 0, 0}), Errc::decryption_failed);
  EXPECT_EQ(refusal(good), Errc::decryption_failed);
  EXPECT_EQ(server_->seal({}).error().code(), Errc::decryption_failed);
  EXPECT_EQ(server_->close().error().code(), Errc::decryption_failed);
  EXPECT_EQ(server_->end_of_stream().error().code(), Errc::decryption_failed);
}

TEST_F(Channel, EmptyFrameIsRefused) { EXPECT_EQ(refusal(frame({})), Errc::channel_message_invalid); }

TEST_F(Channel, UnknownKindIsRefused) { EXPECT_EQ(refusal(frame(ByteArray<1>{4})), Errc::channel_message_invalid); }

TEST_F(Channel, FragmentThatIsNotFullIsRefused) {
  EXPECT_EQ(refusal(fragment(FrameKind::more, kMaxFragment - 1)), Errc::channel_message_invalid);
}

TEST_F(Channel, EmptyLastFragmentIsRefused) {
  EXPECT_TRUE(server_->feed(fragment(FrameKind::more, kMaxFragment)).ok());
  EXPECT_EQ(refusal(fragment(FrameKind::last, 0)), Errc::channel_message_invalid);
}

TEST_F(Channel, ContentsOfAControlFrameAreRefused) {
  EXPECT_EQ(refusal(fragment(FrameKind::rekey, 1)), Errc::channel_message_invalid);
}

TEST_F(Channel, ContentsOfACloseAreRefused) {
  EXPECT_EQ(refusal(fragment(FrameKind::close, 1)), Errc::channel_message_invalid);
}

TEST_F(Channel, CloseWithinAMessageIsRefused) {
  EXPECT_TRUE(server_->feed(fragment(FrameKind::more, kMaxFragment)).ok());
  EXPECT_EQ(refusal(fragment(FrameKind::close, 0)), Errc::channel_message_invalid);
}

TEST_F(Channel, RekeyWithinAMessageIsTaken) {
  EXPECT_TRUE(server_->feed(fragment(FrameKind::more, kMaxFragment)).ok());
  EXPECT_TRUE(server_->feed(td_->rekey().value()).ok());
  EXPECT_EQ(server_->feed(fragment(FrameKind::last, 1)).value().messages.at(0).size(), kMaxFragment + 1);
}

TEST_F(Channel, MessageAboveTheLimitIsRefused) {
  EXPECT_TRUE(server_->feed(td_->seal(message(kInitialLimit)).value()).ok());
  EXPECT_EQ(refusal(td_->seal(message(kInitialLimit + 1)).value()), Errc::limit_exceeded);
}

TEST_F(Channel, LimitCanBeChanged) {
  server_->allow(10);
  EXPECT_TRUE(server_->feed(td_->seal(message(10)).value()).ok());
  EXPECT_EQ(refusal(td_->seal(message(11)).value()), Errc::limit_exceeded);
}

TEST_F(Channel, LimitHoldsWhileFragmentsArrive) {
  server_->allow(kMaxFragment);
  EXPECT_TRUE(server_->feed(fragment(FrameKind::more, kMaxFragment)).ok());
  EXPECT_EQ(refusal(fragment(FrameKind::more, kMaxFragment)), Errc::limit_exceeded);
}

TEST_F(Channel, MessageAboveTheMaximumIsNotSent) {
  const Bytes large(kMaxMessage + 1);
  EXPECT_EQ(td_->seal(large).error().code(), Errc::limit_exceeded);
  EXPECT_TRUE(server_->feed(td_->seal(as_bytes("x")).value()).ok());
}

TEST_F(Channel, RekeyChangesTheKeyOfOneDirection) {
  EXPECT_TRUE(server_->feed(td_->rekey().value()).value().messages.empty());
  EXPECT_EQ(server_->feed(td_->seal(as_bytes("new")).value()).value().messages.size(), 1U);
  EXPECT_EQ(td_->feed(server_->seal(as_bytes("old")).value()).value().messages.size(), 1U);
}

TEST_F(Channel, FrameAfterALostRekeyIsRefused) {
  static_cast<void>(td_->rekey());
  EXPECT_EQ(refusal(td_->seal(as_bytes("x")).value()), Errc::decryption_failed);
}

TEST_F(Channel, SenderRenewsAKeyThatHasServed) {
  TransportAccess::state(*td_).rekey_frames = 4;
  TransportAccess::state(*server_).rekey_frames = 4;
  const auto plain = kLengthSize + 2 + crypto::kTagSize;
  for (int i = 0; i < 12; ++i) {
    const auto wire = td_->seal(as_bytes("x")).value();
    const bool renewed = i % 3 == 0 && i > 0;  // three messages and a rekey under one key
    EXPECT_EQ(wire.size(), plain + (renewed ? plain - 1 : 0)) << i;
    EXPECT_EQ(server_->feed(wire).value().messages.size(), 1U) << i;
  }
}

TEST_F(Channel, KeyThatServedTooLongIsRefused) {
  TransportAccess::state(*server_).rekey_frames = 2;
  EXPECT_TRUE(server_->feed(td_->seal(as_bytes("x")).value()).ok());
  EXPECT_TRUE(server_->feed(td_->seal(as_bytes("x")).value()).ok());
  EXPECT_EQ(refusal(td_->seal(as_bytes("x")).value()), Errc::channel_message_invalid);
}

}  // namespace
}  // namespace cloister::channel
