#include "handlers.hpp"

namespace cloister::api {

http::Router make_router(const Services& services) {
  http::Router router;
  add_system_routes(router, services);
  add_challenge_routes(router, services);
  add_fleet_routes(router, services);
  add_secret_routes(router, services);
  add_job_routes(router, services);
  add_audit_routes(router, services);
  add_token_routes(router, services);
  return router;
}

}  // namespace cloister::api
