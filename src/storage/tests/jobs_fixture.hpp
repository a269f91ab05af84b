#pragma once

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "cloister/storage/jobs.hpp"
#include "fixture.hpp"

namespace cloister::storage::testing {

inline model::Recipient recipient(std::string_view instance_name) {
  return {id<InstanceId>(instance_name), bytes32(3), Bytes{4, 4}};
}

inline model::JobRequest request(std::string_view job, const std::vector<std::string>& instances = {"inst-1"}) {
  model::JobRequest out;
  out.job = id<JobId>(job);
  out.version = id<VersionId>("ver");
  out.idempotency_key = "key of " + std::string{job};
  out.salt = bytes32(1);
  out.input_commitment = bytes32(2);
  out.commitment_key_digest = bytes32(3);
  out.ciphertext = to_bytes("ciphertext of " + std::string{job});
  for (const auto& name : instances) out.recipients.push_back(recipient(name));
  out.deadline = std::chrono::seconds{1000};
  return out;
}

inline model::JobResult result_of(const jobs::Lease& lease, int accepted, std::string_view output = "output") {
  return {lease.job.id, lease.attempt.id, Bytes{9, 9}, {}, bytes32(5), to_bytes(output), at(accepted)};
}

class JobsFixture : public FleetDatabaseTest {
 protected:
  [[nodiscard]] Result<jobs::Submitted> submit(const model::JobRequest& given, int when = 0,
                                               std::string_view tenant = "acme", std::uint8_t hash = 1) {
    return commit(
        [&](Transaction& t) { return jobs::submit(t, id<TenantId>(tenant), given, bytes32(hash), at(when)); });
  }
  [[nodiscard]] Result<std::optional<jobs::Lease>> lease(std::string_view instance_name, std::string_view attempt,
                                                         int when = 0, int until = 30) {
    return commit([&](Transaction& t) {
      return jobs::lease_next(t, id<InstanceId>(instance_name), id<AttemptId>(attempt), at(when), at(until));
    });
  }
  [[nodiscard]] Result<jobs::Acceptance> accept(const model::JobResult& result, std::uint64_t fence,
                                                const std::optional<std::string>& failure = std::nullopt) {
    return commit([&](Transaction& t) { return jobs::accept_result(t, result, fence, failure); });
  }
  [[nodiscard]] model::JobState state(std::string_view job) {
    const auto found = jobs::get(read(), id<JobId>(job));
    EXPECT_TRUE(found);
    return found->state;
  }
  [[nodiscard]] jobs::AttemptState attempt_state(std::string_view attempt) {
    return jobs::attempt(read(), id<AttemptId>(attempt))->state;
  }
  jobs::RetryPolicy policy_{3};
};

}  // namespace cloister::storage::testing
