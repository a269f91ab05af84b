#pragma once

#include <string_view>

#include "cloister/collateral/service.hpp"
#include "cloister/collateral_service/documents.hpp"
#include "cloister/http/router.hpp"

namespace cloister::collateral_service {

/// What a request asks for.
struct Asked {
  collateral::Key key;
  collateral::ApiVersion version = collateral::ApiVersion::v4;  // of Intel's service
  bool pem = false;                                             // PCK CRL: the service's default encoding
};
/// The reverse of `collateral::request_for`, for the path (decoded) and the query of a request. `not_found` for a path
/// that the vendors' services do not have, `invalid_argument` for parameters that are missing, unknown or wrong.
[[nodiscard]] Result<Asked> asked_for(std::string_view path, const http::Query& query);

/// The answer of a vendor's service: the document with its content type, issuer chain, ETag and Last-Modified; 304 where
/// the request's validators are the document's; 404 and 400 as problem documents. A number of an evaluation, and `early`,
/// are answered with the standard one where that is the one.
[[nodiscard]] http::Response respond(const DocumentSource& documents, const http::Request& request);

/// Every GET, answered by `respond`; public, as the vendors' are. `documents` outlives the server.
[[nodiscard]] http::Router routes(const DocumentSource& documents);

}  // namespace cloister::collateral_service
