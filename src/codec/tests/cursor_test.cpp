#include "cloister/codec/cursor.hpp"

#include <gtest/gtest.h>

namespace cloister::codec {
namespace {

TEST(Cursor, ReadsBothByteOrders) {
  const Bytes bytes{0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08};
  EXPECT_EQ(Reader{bytes}.u8(), 0x01);
  EXPECT_EQ(Reader{bytes}.u16be(), 0x0102);
  EXPECT_EQ(Reader{bytes}.u16le(), 0x0201);
  EXPECT_EQ(Reader{bytes}.u32be(), 0x01020304U);
  EXPECT_EQ(Reader{bytes}.u32le(), 0x04030201U);
  EXPECT_EQ(Reader{bytes}.u64be(), 0x0102030405060708U);
  EXPECT_EQ(Reader{bytes}.u64le(), 0x0807060504030201U);
}

TEST(Cursor, ShortReadMovesNothing) {
  const Bytes bytes{1, 2, 3};
  Reader in{bytes};
  EXPECT_FALSE(in.u32le());
  EXPECT_FALSE(in.take(4));
  EXPECT_FALSE(in.array<4>());
  EXPECT_EQ(in.remaining(), 3U);
  EXPECT_EQ(in.take(3)->size(), 3U);
  EXPECT_TRUE(in.at_end());
  EXPECT_FALSE(in.u8());
}

TEST(Cursor, HugeLengthIsAShortRead) {
  const Bytes bytes{1, 2, 3};
  Reader in{bytes};
  ASSERT_TRUE(in.u8());
  EXPECT_FALSE(in.take(SIZE_MAX));
  EXPECT_EQ(in.remaining(), 2U);
}

TEST(Cursor, ReadsWhatItWrote) {
  Writer out;
  out.u8(7);
  out.u16le(0x1234);
  out.u16be(0x1234);
  out.u32le(0xDEADBEEF);
  out.u32be(0xDEADBEEF);
  out.u64le(0x1122334455667788);
  out.u64be(0x1122334455667788);
  out.zeros(3);
  out.raw(Bytes{9, 8});
  const auto bytes = std::move(out).take();
  Reader in{bytes};
  EXPECT_EQ(in.u8(), 7);
  EXPECT_EQ(in.u16le(), 0x1234);
  EXPECT_EQ(in.u16be(), 0x1234);
  EXPECT_EQ(in.u32le(), 0xDEADBEEF);
  EXPECT_EQ(in.u32be(), 0xDEADBEEF);
  EXPECT_EQ(in.u64le(), 0x1122334455667788U);
  EXPECT_EQ(in.u64be(), 0x1122334455667788U);
  EXPECT_EQ(in.array<3>(), (ByteArray<3>{}));
  EXPECT_TRUE(same_bytes(in.rest(), Bytes{9, 8}));
}

}  // namespace
}  // namespace cloister::codec
