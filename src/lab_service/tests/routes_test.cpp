#include "lab.hpp"

#include "support/support.hpp"

#include "route_table.hpp"

/// What holds for every route.
namespace cloister::lab_workload {
std::vector<Workload> service_workloads();
}  // namespace cloister::lab_workload

namespace cloister::lab_service::test {
namespace {

class Routes : public Lab {};

TEST_F(Routes, AreThoseOfTheDocument) {
  EXPECT_EQ(document_.find("openapi")->as_string()->substr(0, 4), "3.1.");
  std::vector<std::string> documented;
  for (const auto& [path, operations] : *document_.find("paths")->as_object()) {
    for (const auto& [method, operation] : *operations.as_object()) {
      documented.push_back((path == "/events/stream" ? "WEBSOCKET"
                            : method == "get"        ? "GET"
                            : method == "post"       ? "POST"
                                                     : "DELETE") +
                           (' ' + path));
      EXPECT_FALSE(operation.find("summary")->as_string()->empty());
    }
  }
  EXPECT_THAT(service_.router().describe(), testing::UnorderedElementsAreArray(documented));
}

TEST_F(Routes, NameEveryWrongField) {
  const auto answer = post("/enclave/compute", R"({"workload":"x","payload":[],"extra":1})");
  EXPECT_EQ(answer.status, 422);
  std::vector<std::string> wrong;
  for (const auto& one : *answer.body.find("detail")->as_array())
    wrong.push_back(json::write(*one.find("loc")) + *one.find("type")->as_string());
  EXPECT_THAT(wrong,
              testing::UnorderedElementsAre(R"(["body","enclave_name"]missing)", R"(["body","workload"]literal_error)",
                                            R"(["body","payload"]dict_type)", R"(["body","extra"]extra_forbidden)"));
  EXPECT_EQ(json::write(*post("/vm/attest?vm=1", "").body.find("detail")->as_array()->front().find("loc")),
            R"(["query","vm"])");
  EXPECT_EQ(get("/events?limit=0").status, 422);
  EXPECT_EQ(get("/events?since=-1").status, 422);
  EXPECT_EQ(get("/health?x=1").status, 422);
}

TEST_F(Routes, RefuseWhatIsNoJson) {
  for (const auto* body : {"", "{", "[]", "null", R"({"enclave_name":"a","enclave_name":"b"})"}) {
    EXPECT_EQ(post("/enclave/attest", body).status, 422) << body;
  }
  std::string deep;
  for (int i = 0; i < 40; ++i) deep += R"({"a":)";
  EXPECT_EQ(post("/enclave/attest", deep).status, 422);
  EXPECT_EQ(send(Method::post, "/enclave/attest", {{"Content-Type", "text/plain"}}, R"({"enclave_name":"e"})").status,
            422);
  EXPECT_EQ(send(Method::post, "/enclave/attest", {}, R"({"enclave_name":"e"})").status, 422);
  EXPECT_EQ(post("/enclave/attest", R"({"enclave_name":")" + std::string(1 << 20, 'x') + "\"}").status, 413);
}

/// That answers of other statuses are in the document, too, every test sees to (`Lab::send`).
TEST_F(Routes, ListWhatEveryRouteRefuses) {
  const std::string huge((1 << 20) + 1, ' ');
  for (const auto& [pattern, operations] : *document_.find("paths")->as_object()) {
    auto path = pattern;
    for (auto at = path.find('{'); at != std::string::npos; at = path.find('{'))
      path.replace(at, path.find('}') - at + 1, "x");
    for (const auto& [name, operation] : *operations.as_object()) {
      const auto method = name == "get" ? Method::get : name == "post" ? Method::post : Method::del;
      const auto& responses = *operation.find("responses");
      const auto status = [&](const std::string& query, http::Headers headers, std::string_view body) {
        return client_->request(method, path + query, std::move(headers), to_bytes(body), std::chrono::seconds{30})
            ->status;
      };
      EXPECT_NE(responses.find("default"), nullptr) << name << path;
      EXPECT_NE(responses.find("413"), nullptr) << name << path;
      if (path == "/events/stream") {
        EXPECT_EQ(status("", {}, ""), 400);
        EXPECT_NE(responses.find("400"), nullptr);
        EXPECT_NE(responses.find("403"), nullptr);
        continue;
      }
      EXPECT_EQ(status("", {{"Content-Type", "application/json"}}, huge), 413) << name << path;
      if (operation.find("responses")->find("200")->find("content") == nullptr)
        continue;  // a file, which is everybody's
      EXPECT_EQ(status("", {{"Origin", "http://evil.example"}}, ""), 403) << name << path;
      EXPECT_EQ(status("?no_such_field=1", {}, ""), 422) << name << path;
      EXPECT_NE(responses.find("403"), nullptr) << name << path;
      EXPECT_NE(responses.find("422"), nullptr) << name << path;
    }
  }
}

TEST_F(Routes, OfNoOtherPath) {
  EXPECT_EQ(get("/nothing").status, 404);
  EXPECT_EQ(get("/vm/launch").status, 405);
  EXPECT_EQ(get("/enclaves/none").status, 404);
  EXPECT_EQ(get("/enclaves/none/measurement").status, 404);
  EXPECT_EQ(get("/enclaves/none/quote").status, 404);
  EXPECT_EQ(post("/enclaves/none/step", "").status, 404);
  EXPECT_EQ(post("/enclaves/none/stop", "").status, 404);
  EXPECT_EQ(get("/vms/none/measurement").status, 404);
  EXPECT_EQ(get("/vms/none/launch-digest").status, 404);
  EXPECT_EQ(get("/vms/none/report").status, 404);
  EXPECT_EQ(post("/vms/none/step", "").status, 404);
  EXPECT_EQ(del("/vms/none").status, 404);
}

TEST_F(Routes, ServeThePageAsItIs) {
  for (const auto& [path, type] :
       {std::pair{"/", "text/html; charset=utf-8"}, std::pair{"/lab.css", "text/css; charset=utf-8"},
        std::pair{"/lab.js", "text/javascript; charset=utf-8"}}) {
    const auto response = client_->request(Method::get, path, {}, {}, std::chrono::seconds{30}).value();
    EXPECT_EQ(response.status, 200);
    EXPECT_EQ(response.headers.find("Content-Type"), type);
    EXPECT_EQ(response.headers.find("X-Content-Type-Options"), "nosniff");
    const auto name = path == std::string_view{"/"} ? std::string{"/index.html"} : std::string{path};
    EXPECT_EQ(as_text(response.body),
              cloister::test::read_text(cloister::test::source_dir() / ("src/lab_service/page" + name)));
  }
}

TEST_F(Routes, ListWhatThereIs) {
  EXPECT_EQ(get("/enclaves").body.find("enclaves")->as_array()->size(), 0U);
  post("/enclaves", R"({"enclave_name":"a/b c"})");
  EXPECT_EQ(post("/enclaves", R"({"enclave_name":"a/b c"})").status, 409);
  launch();
  EXPECT_EQ(*get("/enclaves").body.find("enclaves")->as_array()->front().find("enclave_name")->as_string(), "a/b c");
  EXPECT_EQ(get("/vms").body.find("vms")->as_array()->size(), 1U);
  EXPECT_EQ(get("/workloads").body.find("workloads")->as_array()->size(), 4U);
  EXPECT_THAT(get("/trust")["sgx_root"], testing::StartsWith("-----BEGIN CERTIFICATE"));
}

TEST_F(Routes, VerifyWithWhatTheyTellToTrust) {
  const auto trust = get("/trust");
  EXPECT_TRUE(evidence::parse_quote_collateral(trust["sgx_collateral"]).ok());
  EXPECT_EQ(crypto::x509::parse_chain(trust["snp_chain"])->size(), 3U);
  const auto rejected = post("/verify", R"({"evidence":"AAAA"})");
  EXPECT_EQ(rejected.status, 200);
  EXPECT_EQ(rejected["verdict"], "rejected");
  EXPECT_EQ(post("/verify", R"({"evidence":"!"})").status, 422);
  EXPECT_EQ(post("/verify", R"({"evidence":"AAAA","report_data":"00"})").status, 422);
}

TEST_F(Routes, HoldNoMoreThanTheySay) {
  for (std::size_t i = 0; i < Enclaves::kMax; ++i) {
    EXPECT_EQ(post("/enclaves", R"({"step":true,"enclave_name":")" + std::to_string(i) + "\"}").status, 200);
  }
  const auto one_more = post("/enclave/attest", R"({"enclave_name":"more"})");
  EXPECT_EQ(one_more.status, 409);
  EXPECT_THAT(one_more["detail"], testing::HasSubstr("64 enclaves"));
  std::string vm;
  for (std::size_t i = 0; i < Vms::kMax; ++i) vm = launch();
  EXPECT_EQ(post("/vm/launch", R"({"owner":"bob"})").status, 409);
  for (std::size_t i = 0; i < Vms::kMaxPages; ++i) {
    EXPECT_EQ(
        post("/vm/encrypt", R"({"payload":"x","vm_id":")" + vm + R"(","page_id":)" + std::to_string(i) + "}").status,
        200);
  }
  EXPECT_EQ(post("/vm/encrypt", R"({"payload":"x","page_id":999,"vm_id":")" + vm + "\"}").status, 409);
  const std::string most(8192, 'x');
  const auto write = [&](const std::string& payload) {
    return post("/vm/encrypt", R"({"page_id":0,"owner":"bob","vm_id":")" + vm + R"(","payload":")" + payload + "\"}")
        .status;
  };
  EXPECT_EQ(write(most), 200);
  EXPECT_EQ(write(most + 'x'), 422);
  EXPECT_EQ(write(""), 422);
  EXPECT_EQ(
      post("/enclave/seal", R"({"enclave_name":"more","identity":"i","data":{"a":")" + std::string(65536, 'x') + "\"}}")
          .status,
      422);
}

TEST_F(Routes, SealForAsManyIdentitiesAsTheySay) {
  for (std::size_t i = 0; i < Enclaves::kMaxIdentities; ++i) {
    ASSERT_TRUE(runtime::block_on(handlers_, [](Enclaves& enclaves, std::size_t n) -> runtime::Task<bool> {
      co_return enclaves.seal("e", std::to_string(n), {}).ok();
    }(service_.enclaves, i)));
  }
  EXPECT_EQ(post("/enclave/seal", R"({"enclave_name":"e","identity":"0"})").status, 200);
  EXPECT_EQ(post("/enclave/seal", R"({"enclave_name":"e","identity":"more"})").status, 409);
}

TEST_F(Routes, AreForPagesOfTheirOwn) {
  const http::Headers other{{"Origin", "http://evil.example"}};
  EXPECT_EQ(send(Method::post, "/vm/attest?vm_id=x", other, "").status, 403);
  EXPECT_EQ(send(Method::get, "/enclaves", other, "").status, 403);
  EXPECT_EQ(send(Method::get, "/enclaves", {{"Origin", server_->base_url()}}, "").status, 200);
}

TEST(RouteTable, AdmitsNamesOfLoopbackAlone) {
  const RouteTable table{{"https://pages.example"}};
  const auto admits = [&table](std::string host, std::string origin) {
    http::Request request;
    request.headers.add("Host", std::move(host));
    if (!origin.empty()) request.headers.add("Origin", std::move(origin));
    return table.admit(request).ok();
  };
  EXPECT_TRUE(admits("127.0.0.1:8000", ""));
  EXPECT_TRUE(admits("localhost", ""));
  EXPECT_TRUE(admits("[::1]:8000", "http://[::1]:8000"));
  EXPECT_TRUE(admits("localhost:8000", "http://localhost:8000"));
  EXPECT_TRUE(admits("localhost:8000", "https://pages.example"));
  EXPECT_FALSE(admits("localhost:8000", "http://localhost:9000"));
  EXPECT_FALSE(admits("localhost:8000", "null"));
  // A page of evil.example, whose name leads to loopback.
  EXPECT_FALSE(admits("evil.example:8000", "http://evil.example:8000"));
  EXPECT_FALSE(admits("evil.example:8000", ""));
  EXPECT_FALSE(admits("", ""));
  EXPECT_FALSE(admits("[", ""));
}

struct AllowingRoutes : Lab {
  AllowingRoutes() : Lab{Service::Options{.allowed_origins = {"https://pages.example"}}} {}
};

TEST_F(AllowingRoutes, AreForPagesOfAllowedOrigins) {
  EXPECT_EQ(send(Method::get, "/enclaves", {{"Origin", "https://pages.example"}}, "").status, 200);
  EXPECT_EQ(send(Method::get, "/enclaves", {{"Origin", "http://pages.example"}}, "").status, 403);
}

struct RoutesWithMore : Lab {
  RoutesWithMore() : Lab{Service::Options{.workloads = lab_workload::service_workloads()}} {}
};

TEST_F(RoutesWithMore, RunAWorkloadThatWasAdded) {
  const auto answer =
      post("/enclave/compute", R"({"enclave_name":"e","workload":"reverse","payload":{"numbers":[1,2]}})");
  EXPECT_EQ(json::write(*answer.body.find("result")),
            R"({"numbers":[2,1],"host":{"ocall":"progress","payload":{"done":2}}})");
  EXPECT_THAT(events_after(0), testing::EndsWith("EENTER ECALL EEXIT OCALL EENTER EEXIT"));
  EXPECT_THAT(document_.find("paths") == nullptr ? "" : json::write(*document_.find("paths")->find("/enclave/compute")),
              testing::HasSubstr("\"reverse\""));
}

}  // namespace
}  // namespace cloister::lab_service::test
