// Payloads of strangers: what is accepted gives an output whose total is the sum of its counts.
#include <cstdlib>

#include "cloister/codec/json.hpp"
#include "search.hpp"

namespace {
class Silent final : public cloister::sdk::JobContext {
 public:
  const std::string& id() const noexcept override { return id_; }
  void progress(unsigned) override {}
  void log(cloister::sdk::LogLevel, std::string_view) override {}
  bool stopped() const noexcept override { return false; }

 private:
  std::string id_ = "job-1";
};
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Silent job;
  const auto output = keyword_search::search(cloister::ByteView{data, size}, job);
  if (!output) return 0;
  const auto value = cloister::codec::json::parse(cloister::as_text(*output));
  if (!value) std::abort();
  std::uint64_t sum = 0;
  for (const auto& entry : *value->find("counts")->as_array()) sum += *entry.find("count")->as_uint();
  if (sum != value->find("total")->as_uint()) std::abort();
  return 0;
}
