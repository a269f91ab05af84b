#include <cstdlib>
#include <tuple>

#include "../src/routes.hpp"
#include "cloister/kms/software.hpp"

namespace {

using namespace cloister;

/// A lab that lives as long as the process.
struct Lab {
  SystemRandom random;
  SystemClock clock;
  log::NullLogger log;
  kms::SoftwareKms keys{crypto::Secret<32>{ByteArray<32>{1}}, random};
  std::unique_ptr<lab_service::Machine> machine =
      lab_service::Machine::create(crypto::Secret<32>{ByteArray<32>{1}}, UnixTime{std::chrono::hours{500'000}},
                                   lab_snp::AuthorityKeys::generate(2048), keys, random)
          .value();
  lab_service::Service service{*machine, clock, log, {}};
  lab_service::RouteTable table{{}};
  Lab() {
    add_system_routes(table, service);
    add_enclave_routes(table, service);
    add_vm_routes(table, service);
  }
};

}  // namespace

// "METHOD pattern", a target whose query counts, and a body, each on a line: an answer that is JSON, with a status that
// is documented, and no 500.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Lab lab;
  std::string_view text = as_text({data, size});
  const auto line = [&text] {
    const auto end = std::min(text.find('\n'), text.size());
    const auto out = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    return out;
  };
  const auto which = line();
  const auto target = http::parse_target(line());
  if (!target) return 0;
  for (const auto& route : lab.table.routes()) {
    if (which != std::string{to_string(route.method)} + ' ' + route.pattern) continue;
    http::Request request;
    request.method = route.method;
    request.query = target->query;
    request.headers.add("Host", "localhost");
    request.headers.add("Content-Type", "application/json");
    request.body = crypto::cleansed_copy(as_bytes(text));
    for (const auto* name : {"name", "vm_id"}) {
      if (route.pattern.find('{' + std::string{name} + '}') != std::string::npos)
        request.params[name] = target->segments.back();
    }
    const auto response = lab.table.answer(route, request);
    if (response.status >= 500 || !codec::json::parse(as_text(response.body))) std::abort();
    if (response.status != 200 && !statuses_of(route).contains(response.status)) std::abort();
  }
  // What was made goes again: the lab is for any number of inputs.
  for (const auto* enclave : lab.service.enclaves.all())
    std::ignore = lab.service.enclaves.remove(std::string{enclave->name});
  for (const auto* vm : lab.service.vms.all()) std::ignore = lab.service.vms.remove(std::string{vm->id});
  return 0;
}
