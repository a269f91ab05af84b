#pragma once

#include <gmock/gmock.h>

#include <mutex>
#include <sstream>

#include "cloister/codec/text.hpp"
#include "cloister/http/client.hpp"
#include "cloister/http/server.hpp"
#include "cloister/kms/software.hpp"
#include "cloister/lab_service/service.hpp"
#include "cloister/runtime/io_context.hpp"

/// A lab behind HTTP on loopback.
namespace cloister::lab_service::test {

namespace json = codec::json;
using http::Method;

inline const UnixTime kCreated = from_civil(2026, 1, 1, 0, 0, 0).value();

/// Everything that was logged, as text.
class Recorder final : public log::Logger {
 public:
  void write(log::Level, std::string_view event, std::initializer_list<log::Field> fields) override {
    std::ostringstream line;
    line << event;
    for (const auto& field : fields) {
      line << ' ' << field.name << '=';
      std::visit([&line](const auto& value) { line << value; }, field.value);
    }
    const std::lock_guard lock{mutex_};
    text_ += line.str() + '\n';
  }
  [[nodiscard]] std::string text() const {
    const std::lock_guard lock{mutex_};
    return text_;
  }

 private:
  mutable std::mutex mutex_;
  std::string text_;
};

/// A machine of a seed, with what it refers to.
struct Hardware {
  SystemRandom random;
  kms::SoftwareKms keys;
  std::unique_ptr<Machine> machine;

  explicit Hardware(std::uint8_t seed = 1) : keys{crypto::Secret<32>{ByteArray<32>{seed}}, random} {
    auto made = Machine::create(crypto::Secret<32>{ByteArray<32>{seed}}, kCreated,
                                lab_snp::AuthorityKeys::generate(2048), keys, random);
    machine = std::move(made).value();
  }
  /// Making one takes a second: one for all tests that leave nothing behind.
  static Hardware& shared() {
    static Hardware one;
    return one;
  }
};

struct Answer {
  int status = 0;
  json::Value body;
  [[nodiscard]] std::string text() const { return json::write(body); }
  /// A member that is text, or "".
  [[nodiscard]] std::string operator[](std::string_view name) const {
    const auto* member = body.find(name);
    return member == nullptr || member->as_string() == nullptr ? std::string{} : *member->as_string();
  }
};

class Lab : public testing::Test {
 protected:
  explicit Lab(Service::Options options = {}) : service_{*Hardware::shared().machine, clock_, log_, options} {
    http::ServerOptions wanted;
    wanted.allowed_origins = options.allowed_origins;
    wanted.handlers = handlers_.executor();
    auto listening = http::Server::listen(connections_, std::move(wanted), service_.router(), log_);
    server_ = std::move(listening).value();
    handlers_.start();
    connections_.start();
    auto made = http::BlockingClient::make({.base_url = server_->base_url(), .bearer = {}, .tls = {}});
    client_ = std::move(made).value();
    document_ = get("/openapi.json").body;
  }
  ~Lab() override {
    runtime::block_on(connections_, server_->stop());
    handlers_.stop();
    for (const auto* enclave : service_.enclaves.all())
      EXPECT_TRUE(service_.enclaves.remove(std::string{enclave->name}).ok());
    for (const auto* vm : service_.vms.all()) EXPECT_TRUE(service_.vms.remove(std::string{vm->id}).ok());
  }

  Answer send(Method method, const std::string& target, http::Headers headers, std::string_view body) {
    const auto response =
        client_->request(method, target, std::move(headers), to_bytes(body), std::chrono::seconds{30});
    EXPECT_TRUE(response.ok()) << target;
    auto parsed = json::parse(as_text(response->body));
    EXPECT_TRUE(parsed.ok()) << target << as_text(response->body);
    Answer out{response->status, *std::move(parsed)};
    const auto path = target.substr(0, target.find('?'));
    if (out.status != 200) {
      EXPECT_NE(out.body.find("detail"), nullptr) << target << out.text();
      if (const auto* operation = operation_of(method, path)) {
        EXPECT_NE(operation->find("responses")->find(std::to_string(out.status)), nullptr) << path << ' ' << out.status;
      }
    } else {
      as_documented(method, path, out);
    }
    return out;
  }
  Answer post(const std::string& target, std::string_view body = "{}") {
    return send(Method::post, target, {{"Content-Type", "application/json"}}, body);
  }
  Answer get(const std::string& target) { return send(Method::get, target, {}, {}); }
  Answer del(const std::string& target) { return send(Method::del, target, {}, {}); }
  std::string launch(const std::string& owner = "bob") {
    return post("/vm/launch", R"({"owner":")" + owner + "\"}")["vm_id"];
  }
  /// The names of the events after a number, with spaces between them.
  std::string events_after(std::uint64_t seq) {
    std::string out;
    const auto answer = get("/events?limit=1000&since=" + std::to_string(seq));
    for (const auto& event : *answer.body.find("events")->as_array())
      out += (out.empty() ? "" : " ") + *event.find("event")->as_string();
    return out;
  }
  std::uint64_t last_event() { return *get("/events").body.find("last")->as_uint(); }

  /// What the OpenAPI document says of a request; null where it has no such path.
  const json::Value* operation_of(Method method, const std::string& path) {
    const auto fits = [&path](std::string_view pattern) {
      std::string_view rest = path;
      while (!pattern.empty() && !rest.empty()) {
        const auto a = pattern.substr(0, pattern.find('/', 1));
        const auto b = rest.substr(0, rest.find('/', 1));
        if (!a.starts_with("/{") && a != b) return false;
        pattern.remove_prefix(a.size());
        rest.remove_prefix(b.size());
      }
      return pattern.empty() && rest.empty();
    };
    if (document_.is_null()) return nullptr;
    for (const auto& [pattern, operations] : *document_.find("paths")->as_object()) {
      const auto* operation = operations.find(method == Method::get    ? "get"
                                              : method == Method::post ? "post"
                                                                       : "delete");
      if (operation != nullptr && fits(pattern)) return operation;
    }
    return nullptr;
  }

  /// The answer has what the OpenAPI document says that it has.
  void as_documented(Method method, const std::string& path, const Answer& answer) {
    if (document_.is_null() || path == "/openapi.json") return;
    const auto* operation = operation_of(method, path);
    ASSERT_NE(operation, nullptr) << path << " is not in the document";
    const auto& schema =
        *operation->find("responses")->find("200")->find("content")->find("application/json")->find("schema");
    for (const auto& name : *schema.find("required")->as_array()) {
      EXPECT_NE(answer.body.find(*name.as_string()), nullptr) << path << " lacks " << *name.as_string();
    }
    if (path == "/verify") return;  // which is documented elsewhere
    for (const auto& [name, value] : *answer.body.as_object()) {
      const auto* property = schema.find("properties")->find(name);
      EXPECT_NE(property, nullptr) << path << " has " << name;
      const auto* most = property == nullptr ? nullptr : property->find("maximum");
      if (most == nullptr || !value.as_uint() || !most->as_uint()) continue;
      EXPECT_LE(*value.as_uint(), *most->as_uint()) << path << ": " << name;
    }
  }

  SystemClock clock_;
  Recorder log_;
  runtime::IoContext connections_;
  Service service_;
  runtime::IoContext handlers_;
  std::unique_ptr<http::Server> server_;
  std::unique_ptr<http::BlockingClient> client_;
  json::Value document_;
};

}  // namespace cloister::lab_service::test
