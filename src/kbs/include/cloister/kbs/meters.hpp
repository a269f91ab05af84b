#pragma once

#include "cloister/metrics/families.hpp"

namespace cloister::kbs {

/// What the brokers of all tenants count. Labels are from fixed sets, and tenants that are known: never a path, an id or a
/// key. Thread-safe.
struct Meters {
  metrics::Counters handshakes{"cloister_guest_handshakes_total",
                               "Handshakes of guests that ended, by TEE and result; none: the TEE is not known.",
                               {"tee", "code"}};
  metrics::Counters releases{"cloister_guest_releases_total", "What guests asked for, by tenant and result.", {"tenant", "code"}};
  metrics::Histograms policies{"cloister_guest_policy_duration_seconds", "Evaluations of Rego policies.", {"policy"}};
  void write(metrics::TextWriter& out) const {
    handshakes.write(out);
    releases.write(out);
    policies.write(out);
  }
};

}  // namespace cloister::kbs
