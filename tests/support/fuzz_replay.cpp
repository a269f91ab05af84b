// Runs a fuzz target over every file of a corpus directory, for builds without libFuzzer.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s CORPUS-DIRECTORY\n", argv[0]);
    return 2;
  }
  std::vector<std::filesystem::path> files;
  std::error_code failure;
  for (const auto& entry : std::filesystem::directory_iterator(argv[1], failure)) {
    if (entry.is_regular_file()) files.push_back(entry.path());
  }
  if (failure || files.empty()) {
    std::fprintf(stderr, "%s: no corpus there\n", argv[1]);
    return 2;
  }
  std::ranges::sort(files);
  std::size_t runs = 0;
  for (const auto& file : files) {
    std::ifstream in(file, std::ios::binary);
    std::vector<std::uint8_t> bytes(std::istreambuf_iterator<char>(in), {});
    LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
    ++runs;
    // Neighbours of each input, so that the replay also sees truncation and flipped bits.
    for (std::size_t cut = 0; cut < bytes.size(); cut += 1 + bytes.size() / 32) {
      std::vector<std::uint8_t> shorter(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(cut));
      LLVMFuzzerTestOneInput(shorter.data(), shorter.size());
      auto flipped = bytes;
      flipped[cut] ^= 0x81;
      LLVMFuzzerTestOneInput(flipped.data(), flipped.size());
      runs += 2;
    }
  }
  std::printf("%zu inputs, %zu runs\n", files.size(), runs);
  return 0;
}
