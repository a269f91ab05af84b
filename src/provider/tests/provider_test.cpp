#include <gmock/gmock.h>

#include <fstream>
#include <set>

#include "cloister/provider/lab_host_wire.hpp"
#include "cloister/provider/process_provider.hpp"
#include "cloister/provider/td_image.hpp"
#include "support/support.hpp"

namespace cloister::provider {
namespace {

StartTd start_td() {
  return {.files = {{.path = "guest", .mode = 0755}, {.path = "lib/x.so", .mode = 0644}},
          .configuration = {1, 2, 3},
          .memory_mib = 64,
          .blobs = {Digest32{7}}};
}

Errc refusal(const HostRequest& request) { return decode_host_request(encode(request)).error().code(); }

TEST(LabHostWire, RequestsComeBackAsTheyWere) {
  for (const HostRequest& request : {HostRequest{start_td()}, HostRequest{StopTd{"td-1"}}, HostRequest{ListTds{}},
                                     HostRequest{GetCollateral{}}}) {
    const auto decoded = decode_host_request(encode(request));
    ASSERT_TRUE(decoded.ok()) << decoded.error().text();
    EXPECT_EQ(*decoded, request);
  }
}

TEST(LabHostWire, RefusesEachBrokenRequest) {
  auto start = start_td();
  start.files.clear();
  EXPECT_EQ(refusal(start), Errc::invalid_argument);
  start = start_td();
  start.files[0].mode = 01000;
  EXPECT_EQ(refusal(start), Errc::invalid_argument);
  start = start_td();
  start.memory_mib = 0;
  EXPECT_EQ(refusal(start), Errc::invalid_argument);
  start = start_td();
  start.configuration.resize(kMaxConfiguration + 1);
  EXPECT_EQ(refusal(start), Errc::limit_exceeded);
  start = start_td();
  start.files.resize(kMaxTdFiles + 1);
  EXPECT_FALSE(decode_host_request(encode(start)).ok());
  start = start_td();
  start.blobs.resize(kMaxTdBlobs + 1);
  EXPECT_FALSE(decode_host_request(encode(start)).ok());
  EXPECT_EQ(refusal(StopTd{"../x"}), Errc::malformed);

  auto bytes = encode(ListTds{});
  bytes.push_back(0);
  EXPECT_EQ(decode_host_request(bytes).error().code(), Errc::trailing_bytes);
  bytes = encode(ListTds{});
  bytes[0] = 0x83;
  EXPECT_EQ(decode_host_request(bytes).error().code(), Errc::unsupported);
  bytes = encode(ListTds{});
  bytes.back() = 'x';
  EXPECT_EQ(decode_host_request(bytes).error().code(), Errc::unsupported);
  bytes = encode(ListTds{});
  bytes[3] = 'x';  // in the domain
  EXPECT_FALSE(decode_host_request(bytes).ok());
}

TEST(LabHostWire, AnswersComeBackAsTheyWere) {
  const auto started = decode_start_answer(encode_start_answer({.id = "td-1", .mrtd = Digest48{9}}));
  EXPECT_EQ(started->id, "td-1");
  EXPECT_EQ(started->mrtd, Digest48{9});
  EXPECT_TRUE(decode_stop_answer(encode_stop_answer()).ok());
  EXPECT_THAT(*decode_list_answer(encode_list_answer({"a", "b"})), ::testing::ElementsAre("a", "b"));
  EXPECT_EQ(decode_collateral_answer(encode_collateral_answer({.root_pem = "r", .collateral_json = "{}"}))->root_pem, "r");
  const auto exit = decode_exit(encode_exit({.status = {.code = 3, .signal = 0}, .console = "\xFF bye"}));
  EXPECT_EQ(exit->status.code, 3);
  EXPECT_EQ(exit->console, "\xFF bye");
  EXPECT_EQ(decode_list_answer(encode_host_error(Error{Errc::overloaded, "full"})).error().code(), Errc::overloaded);
  EXPECT_EQ(decode_list_answer(encode_stop_answer()).error().code(), Errc::malformed);
}

std::vector<std::string> paths(const TdImage& image) {
  std::vector<std::string> out;
  for (const auto& file : image) out.push_back(file.path);
  return out;
}

TEST(TdImage, OfAStaticProgramIsTheProgram) {
  const auto image = td_image_of_program(CLOISTER_PROVIDER_STATIC);
  ASSERT_TRUE(image.ok()) << image.error().text();
  EXPECT_THAT(paths(*image), ::testing::ElementsAre("provider_static"));
  EXPECT_EQ(image->front().mode, 0755U);
  EXPECT_TRUE(same_bytes(image->front().contents(), test::read_file(CLOISTER_PROVIDER_STATIC)));
}

TEST(TdImage, OfADynamicProgramHasLoaderAndLibrariesInOrder) {
  const auto image = td_image_of_program(CLOISTER_PROVIDER_DYNAMIC);
  ASSERT_TRUE(image.ok()) << image.error().text();
  auto names = paths(*image);
  EXPECT_EQ(names.front(), "provider_dynamic");
  const auto loader = elf_interpreter(image->front().contents());
  ASSERT_TRUE(loader.ok() && *loader);
  EXPECT_THAT(names, ::testing::Contains("lib/" + (*loader)->filename().native()));
  EXPECT_THAT(names, ::testing::Contains("lib/libc.so.6"));
  names.erase(names.begin());
  EXPECT_TRUE(std::ranges::is_sorted(names));
  for (const auto& file : *image) {
    EXPECT_EQ(file.mode, file.path == "lib/libc.so.6" ? 0644U : file.mode);
    EXPECT_FALSE(file.contents().empty());
  }
}

TEST(TdImage, RefusesWhatIsNoProgram) {
  test::TempDir dir;
  std::ofstream{dir.path() / "script"} << "#!/bin/sh\n";
  EXPECT_EQ(td_image_of_program(dir.path() / "script").error().code(), Errc::malformed);
  EXPECT_FALSE(td_image_of_program(dir.path() / "absent").ok());
}

TEST(ElfInterpreter, RefusesTablesOutsideOfTheFile) {
  const auto program = test::read_file(CLOISTER_PROVIDER_DYNAMIC);
  ASSERT_TRUE(*elf_interpreter(program));
  auto broken = program;
  broken[39] = 0x7F;  // offset of the program headers
  EXPECT_EQ(elf_interpreter(broken).error().code(), Errc::malformed);
  broken = program;
  broken[4] = 1;  // 32 bits
  EXPECT_EQ(elf_interpreter(broken).error().code(), Errc::malformed);
  broken = program;
  broken[54] = 55;  // size of a program header
  EXPECT_EQ(elf_interpreter(broken).error().code(), Errc::malformed);
  EXPECT_EQ(elf_interpreter(ByteView{program}.first(64)).error().code(), Errc::malformed);
}

TEST(ProcessProvider, SaysThatThereIsNoPlatform) {
  test::TempDir dir;
  ProcessProvider provider{dir.path() / "control.sock", {}};
  const Deadline deadline{std::chrono::steady_clock::now() + std::chrono::seconds{5}};
  EXPECT_EQ(provider.list(deadline).error().code(), Errc::unavailable);
}

}  // namespace
}  // namespace cloister::provider
