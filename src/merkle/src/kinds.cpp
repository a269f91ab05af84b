#include "cloister/merkle/kinds.hpp"

#include <algorithm>
#include <array>

namespace cloister::merkle {
namespace {

constexpr std::array kKinds = std::to_array<LeafKind>({
    {"appraisal.accepted", "session", "a TD was attested: its evidence was accepted"},
    {"appraisal.refused", "instance, validator or role", "a TD's evidence was refused"},
    {"data_key.made", "data key", "a key that seals what is stored was made"},
    {"data_key.retired", "tenant", "older keys that seal what is stored were erased"},
    {"data_key.rotated", "tenant", "another key seals what is stored"},
    {"derived_key.created", "tenant/challenge/purpose/version", "a derived key was made, with its conditions"},
    {"derived_key.raised", "tenant/challenge/purpose/version", "a further version of a derived key was made"},
    {"derived_key.refused", "tenant/challenge/purpose, or session", "an instance was refused a derived key"},
    {"derived_key.released", "tenant/challenge/purpose/version", "an instance was given a derived key"},
    {"derived_key.revoked", "tenant/challenge/purpose/version", "a version of a derived key was revoked"},
    {"evidence.appraised", "digest of the evidence", "an operator had evidence judged"},
    {"guest.attested", "token", "a guest was attested, and given a token"},
    {"job.cancelled", "job", "a job was cancelled"},
    {kHandedOnKind, "the log that goes on", "the log ended: the keys moved to another keeper"},
    {kRollbackKind, "this log", "a new log began: the operator accepted that the database was set back"},
    {kTakenOverKind, "the log before", "a new log began: the keys moved to another keeper"},
    {"policy.changed", "policy", "a policy of the key broker was set"},
    {"policy.removed", "policy", "a policy of the key broker was removed"},
    {"reference_value.changed", "reference value", "a reference value was set"},
    {"reference_value.removed", "reference value", "a reference value was removed"},
    {"refused", "error code", "strangers were refused, so many in that minute"},
    {"resource.current_set", "path", "another version of a resource is the current one"},
    {"resource.declared", "path", "values of a resource are to be made here"},
    {"resource.deleted", "path", "a resource or a version was deleted, until it is undeleted"},
    {"resource.generated", "path", "a value of a resource was made"},
    {"resource.labelled", "path", "a resource got other labels"},
    {"resource.purged", "path", "deleted values of a resource were erased"},
    {"resource.refused", "path", "a guest was refused a resource"},
    {"resource.released", "path", "a guest was given a resource"},
    {"resource.removed", "path", "a resource was removed"},
    {"resource.retention_set", "path", "how many versions of a resource are kept was set"},
    {"resource.stored", "path", "a resource was stored"},
    {"resource.undeleted", "path", "a deleted resource or version is there again"},
    {"result.accepted", "job", "the result of a job was accepted"},
    {"revocation.added", "revocation", "a guest, a measurement or a chip was revoked"},
    {"revocation.lifted", "revocation", "a revocation was lifted"},
    {"secret.refused", "path", "an instance was refused a secret"},
    {"secret.released", "path", "an instance was given a secret"},
    {"secret.removed", "path", "a secret was removed"},
    {"secret.stored", "path", "a secret was stored"},
    {"server.started", "server", "the server started, with this configuration"},
    {"token.issued", "token", "an operator's token was issued"},
    {"token.revoked", "token", "an operator's token was revoked"},
    {"token_key.made", "key", "the first key that signs attestation results was made"},
    {"token_key.rotated", "key", "another key signs attestation results"},
    {"validator.drained", "validator", "a validator was drained"},
    {"validator.enrolled", "validator", "a validator was enrolled"},
    {"validator.resumed", "validator", "a validator was let in again"},
    {"version.registered", "version", "a version of a challenge was registered"},
});
static_assert(std::ranges::is_sorted(kKinds, {}, &LeafKind::name));

}  // namespace

std::span<const LeafKind> leaf_kinds() noexcept { return kKinds; }

const LeafKind* find_leaf_kind(std::string_view name) noexcept {
  const auto found = std::ranges::lower_bound(kKinds, name, {}, &LeafKind::name);
  return found != kKinds.end() && found->name == name ? &*found : nullptr;
}

}  // namespace cloister::merkle
