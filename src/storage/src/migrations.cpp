#include "cloister/storage/database.hpp"

// The schema. Times are microseconds since 1970 (UTC), digests and keys raw bytes, states the names of the model's
// enumerators. A step is never changed once it is released: a database remembers its digest.
namespace cloister::storage {
namespace {

constexpr const char* kInitial = R"sql(
CREATE TABLE setting (
  name TEXT PRIMARY KEY,
  value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE data_key (
  id TEXT PRIMARY KEY,
  tenant TEXT NOT NULL,
  wrapped BLOB NOT NULL,
  active INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX data_key_active ON data_key (tenant) WHERE active = 1;

CREATE TABLE challenge (
  id TEXT PRIMARY KEY,
  tenant TEXT NOT NULL,
  created INTEGER NOT NULL
) STRICT;

CREATE TABLE version (
  id TEXT PRIMARY KEY,
  challenge TEXT NOT NULL REFERENCES challenge,
  spec TEXT NOT NULL,
  configuration BLOB NOT NULL,
  reference TEXT NOT NULL,
  active INTEGER NOT NULL,
  registered INTEGER NOT NULL
) STRICT;
CREATE INDEX version_by_challenge ON version (challenge, registered);
CREATE INDEX version_active ON version (challenge) WHERE active = 1;

-- A removed secret keeps its rows, without values, so that no version number is used twice.
CREATE TABLE secret (
  tenant TEXT NOT NULL,
  path TEXT NOT NULL,
  version INTEGER NOT NULL,
  value BLOB,
  created INTEGER NOT NULL,
  PRIMARY KEY (tenant, path, version)
) STRICT;

CREATE TABLE evidence (
  session TEXT PRIMARY KEY,
  evidence BLOB NOT NULL,
  event_log BLOB NOT NULL,
  configuration BLOB NOT NULL,
  preimage BLOB NOT NULL,
  collateral BLOB NOT NULL,
  appraisal BLOB NOT NULL,
  appraised INTEGER NOT NULL,
  expires INTEGER NOT NULL
) STRICT;

CREATE TABLE validator (
  id TEXT PRIMARY KEY,
  hotkey BLOB NOT NULL UNIQUE,
  state TEXT NOT NULL,
  capacity INTEGER NOT NULL,
  enrolled INTEGER NOT NULL,
  verified INTEGER,
  session TEXT REFERENCES evidence
) STRICT;

CREATE TABLE instance (
  seq INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  version TEXT NOT NULL REFERENCES version,
  validator TEXT NOT NULL REFERENCES validator,
  state TEXT NOT NULL,
  created INTEGER NOT NULL,
  failure TEXT,
  session TEXT REFERENCES evidence,
  payload_key BLOB UNIQUE,
  result_key BLOB UNIQUE
) STRICT;
CREATE INDEX instance_by_version ON instance (version, state);
CREATE INDEX instance_by_validator ON instance (validator, state);

CREATE TABLE session (
  id TEXT PRIMARY KEY,
  tenant TEXT NOT NULL,
  subject TEXT NOT NULL,
  created INTEGER NOT NULL,
  expires INTEGER NOT NULL,
  revoked INTEGER NOT NULL,
  state BLOB NOT NULL
) STRICT;
CREATE INDEX session_by_subject ON session (subject);

CREATE TABLE nonce (
  nonce BLOB PRIMARY KEY,
  purpose TEXT NOT NULL,
  expires INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX nonce_by_expiry ON nonce (expires);

CREATE TABLE token (
  id TEXT PRIMARY KEY,
  role TEXT NOT NULL,
  tenant TEXT NOT NULL,
  name TEXT NOT NULL,
  created INTEGER NOT NULL,
  expires INTEGER,
  revoked INTEGER NOT NULL
) STRICT;

-- seq is the order of submission.
CREATE TABLE job (
  seq INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  tenant TEXT NOT NULL,
  version TEXT NOT NULL REFERENCES version,
  idempotency_key TEXT NOT NULL,
  request_hash BLOB NOT NULL,
  salt BLOB NOT NULL,
  input_commitment BLOB NOT NULL,
  commitment_key_digest BLOB NOT NULL,
  ciphertext_digest BLOB NOT NULL,
  state TEXT NOT NULL,
  attempts INTEGER NOT NULL,
  progress INTEGER NOT NULL,
  submitted INTEGER NOT NULL,
  deadline INTEGER NOT NULL,
  finished INTEGER,
  failure TEXT,
  UNIQUE (tenant, idempotency_key)
) STRICT;
CREATE INDEX job_by_version ON job (version, state, seq);
CREATE INDEX job_by_deadline ON job (deadline) WHERE finished IS NULL;

-- Payload and recipients are erased when the job ends.
CREATE TABLE job_payload (
  job INTEGER PRIMARY KEY REFERENCES job,
  ciphertext BLOB NOT NULL
) STRICT;

CREATE TABLE recipient (
  instance INTEGER NOT NULL REFERENCES instance,
  job INTEGER NOT NULL REFERENCES job,
  enc BLOB NOT NULL,
  sealed_key BLOB NOT NULL,
  PRIMARY KEY (instance, job)
) STRICT, WITHOUT ROWID;
CREATE INDEX recipient_by_job ON recipient (job);

CREATE TABLE attempt (
  id TEXT PRIMARY KEY,
  job INTEGER NOT NULL REFERENCES job,
  instance INTEGER NOT NULL REFERENCES instance,
  fence INTEGER NOT NULL,
  leased INTEGER NOT NULL,
  lease_until INTEGER NOT NULL,
  state TEXT NOT NULL,
  UNIQUE (job, fence)
) STRICT;
CREATE UNIQUE INDEX attempt_lease ON attempt (job) WHERE state = 'leased';
CREATE INDEX attempt_by_lease_end ON attempt (lease_until) WHERE state = 'leased';
CREATE INDEX attempt_by_instance ON attempt (instance) WHERE state = 'leased';

CREATE TABLE result (
  job INTEGER PRIMARY KEY REFERENCES job,
  attempt TEXT NOT NULL UNIQUE REFERENCES attempt,
  envelope BLOB NOT NULL,
  signature BLOB NOT NULL,
  enc BLOB NOT NULL,
  sealed_output BLOB NOT NULL,
  accepted INTEGER NOT NULL
) STRICT;

CREATE TABLE audit_log (
  seq INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  started INTEGER NOT NULL
) STRICT;

CREATE TABLE audit_row (
  log INTEGER NOT NULL REFERENCES audit_log,
  position INTEGER NOT NULL,
  kind TEXT NOT NULL,
  subject TEXT NOT NULL,
  leaf BLOB NOT NULL,
  PRIMARY KEY (log, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX audit_row_by_subject ON audit_row (log, subject, kind, position);

CREATE TABLE audit_node (
  log INTEGER NOT NULL REFERENCES audit_log,
  level INTEGER NOT NULL,
  position INTEGER NOT NULL,
  hash BLOB NOT NULL,
  PRIMARY KEY (log, level, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE audit_head (
  log INTEGER NOT NULL REFERENCES audit_log,
  tree_size INTEGER NOT NULL,
  head BLOB NOT NULL,
  PRIMARY KEY (log, tree_size)
) STRICT, WITHOUT ROWID;
)sql";

constexpr const char* kUnfinishedJobs = R"sql(
CREATE INDEX job_unfinished ON job (tenant) WHERE finished IS NULL;
)sql";

// What results need is kept; of the rest, the newest of each subject.
constexpr const char* kEvidenceOfResults = R"sql(
ALTER TABLE evidence ADD COLUMN kept INTEGER NOT NULL DEFAULT 1;
CREATE INDEX instance_by_session ON instance (session);
CREATE INDEX validator_by_session ON validator (session);
)sql";

// Handshakes with the key broker, and the resources that it gives. A session is a row of about 200 bytes until it is
// attested.
constexpr const char* kKeyBroker = R"sql(
CREATE TABLE broker_session (
  id BLOB PRIMARY KEY,
  nonce BLOB NOT NULL,
  tee TEXT NOT NULL,
  expires INTEGER NOT NULL,
  attempted INTEGER NOT NULL,
  token TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX broker_session_by_expiry ON broker_session (expires);

CREATE TABLE resource (
  tenant TEXT NOT NULL,
  path TEXT NOT NULL,
  version INTEGER NOT NULL,
  value BLOB,
  created INTEGER NOT NULL,
  PRIMARY KEY (tenant, path, version)
) STRICT;
)sql";

// Tenants of the key broker, each with its own policies and reference values.
constexpr const char* kBrokerTenants = R"sql(
ALTER TABLE broker_session ADD COLUMN tenant TEXT NOT NULL DEFAULT 'default';

CREATE TABLE broker_policy (
  tenant TEXT NOT NULL,
  kind TEXT NOT NULL,
  name TEXT NOT NULL,
  scope TEXT NOT NULL,
  text TEXT NOT NULL,
  changed INTEGER NOT NULL,
  PRIMARY KEY (tenant, kind, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE reference_values (
  tenant TEXT PRIMARY KEY,
  text TEXT NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO broker_policy (tenant, kind, name, scope, text, changed)
  SELECT 'default', 'resource', 'default', '', CAST(value AS TEXT), 0 FROM setting WHERE name = 'kbs-resource-policy'
  UNION ALL SELECT 'default', 'attestation', 'default_cpu', '', CAST(value AS TEXT), 0 FROM setting
    WHERE name = 'kbs-attestation-policy-cpu'
  UNION ALL SELECT 'default', 'attestation', 'default_gpu', '', CAST(value AS TEXT), 0 FROM setting
    WHERE name = 'kbs-attestation-policy-gpu';
INSERT INTO reference_values (tenant, text)
  SELECT 'default', CAST(value AS TEXT) FROM setting WHERE name = 'kbs-reference-values';
DELETE FROM setting WHERE name GLOB 'kbs-*';
)sql";

// Versions of derived keys: who gets them, sealed; no key.
constexpr const char* kDerivedKeys = R"sql(
CREATE TABLE derived_key (
  tenant TEXT NOT NULL,
  challenge TEXT NOT NULL,
  purpose TEXT NOT NULL,
  version INTEGER NOT NULL,
  state BLOB NOT NULL,
  PRIMARY KEY (tenant, challenge, purpose, version)
) STRICT;
)sql";

// What is said of all versions of a resource stands in its head, which stays when it was purged (`present` is 0 then), so that
// no number is used twice. A sealed value of n bytes has 90 bytes, the head of a CBOR byte string, and n + 16 bytes.
// `data_key` is the id of the key that a value is sealed under: the 35 bytes behind 0x84, the domain, and their own head.
constexpr const char* kResourceVersions = R"sql(
ALTER TABLE resource ADD COLUMN size INTEGER NOT NULL DEFAULT 0;
ALTER TABLE resource ADD COLUMN generated INTEGER NOT NULL DEFAULT 0;
ALTER TABLE resource ADD COLUMN deleted INTEGER;
UPDATE resource SET size = length(value) - 106 -
  CASE WHEN length(value) < 115 THEN 1 WHEN length(value) < 348 THEN 2 WHEN length(value) < 65629 THEN 3 ELSE 5 END
  WHERE value IS NOT NULL;
CREATE INDEX resource_by_size ON resource (tenant, size) WHERE value IS NOT NULL;

CREATE TABLE resource_head (
  tenant TEXT NOT NULL,
  path TEXT NOT NULL,
  present INTEGER NOT NULL,
  last INTEGER NOT NULL,
  current INTEGER,
  created INTEGER NOT NULL,
  deleted INTEGER,
  labels TEXT NOT NULL,
  generator TEXT,
  pending INTEGER NOT NULL,
  keep INTEGER,
  PRIMARY KEY (tenant, path)
) STRICT, WITHOUT ROWID;
INSERT INTO resource_head (tenant, path, present, last, current, created, labels, pending)
  SELECT tenant, path, MAX(value IS NOT NULL), MAX(version), MAX(version) FILTER (WHERE value IS NOT NULL), MIN(created), '{}', 0
  FROM resource GROUP BY tenant, path;

ALTER TABLE resource ADD COLUMN data_key BLOB GENERATED ALWAYS AS (substr(value, 22, 35)) VIRTUAL;
ALTER TABLE secret ADD COLUMN data_key BLOB GENERATED ALWAYS AS (substr(value, 22, 35)) VIRTUAL;
ALTER TABLE session ADD COLUMN data_key BLOB GENERATED ALWAYS AS (substr(state, 22, 35)) VIRTUAL;
ALTER TABLE derived_key ADD COLUMN data_key BLOB GENERATED ALWAYS AS (substr(state, 22, 35)) VIRTUAL;
CREATE INDEX resource_by_data_key ON resource (tenant, data_key) WHERE value IS NOT NULL;
CREATE INDEX secret_by_data_key ON secret (tenant, data_key) WHERE value IS NOT NULL;
CREATE INDEX session_by_data_key ON session (tenant, data_key);
CREATE INDEX derived_key_by_data_key ON derived_key (tenant, data_key);
)sql";

// What was revoked of guests. Tenant: of whose; '' (which no tenant is called): of all.
constexpr const char* kRevocations = R"sql(
CREATE TABLE revocation (
  id TEXT PRIMARY KEY,
  tenant TEXT NOT NULL,
  kind TEXT NOT NULL,
  value TEXT NOT NULL,
  reason TEXT NOT NULL,
  revoked_by TEXT NOT NULL,
  created INTEGER NOT NULL,
  expires INTEGER,
  UNIQUE (tenant, kind, value)
) STRICT;
CREATE INDEX revocation_by_expiry ON revocation (expires) WHERE expires IS NOT NULL;
)sql";

// Sessions of guests are kept from their attempt on, and no more before it. In the row with the rest of it, since a token
// is longer than what a table without row ids keeps there.
constexpr const char* kAttemptedSessions = R"sql(
DROP TABLE broker_session;
CREATE TABLE broker_session (
  id BLOB NOT NULL UNIQUE,
  tenant TEXT NOT NULL,
  tee TEXT NOT NULL,
  expires INTEGER NOT NULL,
  token TEXT
) STRICT;
CREATE INDEX broker_session_by_expiry ON broker_session (expires);

CREATE TABLE broker_sessions_swept (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  until INTEGER NOT NULL
) STRICT;
INSERT INTO broker_sessions_swept (one, until) VALUES (1, 0);
)sql";

// Leaves by which what guests are judged by was changed: found at each start, however many others there are. The list of kinds
// stands in the statement that looks for them too (audit_rows.cpp).
constexpr const char* kRuleLeaves = R"sql(
CREATE INDEX audit_row_of_rules ON audit_row (log, position) WHERE kind IN (
  'policy.changed', 'policy.removed', 'reference_value.changed', 'reference_value.removed', 'revocation.added', 'revocation.lifted');
)sql";

// The same index as a chain of comparisons: for a list, SQLite fills a table with its members at each row that is
// added.
constexpr const char* kRuleLeavesByComparison = R"sql(
DROP INDEX audit_row_of_rules;
CREATE INDEX audit_row_of_rules ON audit_row (log, position) WHERE
  kind = 'policy.changed' OR kind = 'policy.removed' OR kind = 'reference_value.changed' OR
  kind = 'reference_value.removed' OR kind = 'revocation.added' OR kind = 'revocation.lifted';
)sql";

constexpr Migration kSteps[] = {{1, "initial", kInitial},
                                {2, "unfinished_jobs", kUnfinishedJobs},
                                {3, "evidence_of_results", kEvidenceOfResults},
                                {4, "key_broker", kKeyBroker},
                                {5, "broker_tenants", kBrokerTenants},
                                {6, "derived_keys", kDerivedKeys},
                                {7, "resource_versions", kResourceVersions},
                                {8, "revocations", kRevocations},
                                {9, "attempted_sessions", kAttemptedSessions},
                                {10, "rule_leaves", kRuleLeaves},
                                {11, "rule_leaves_by_comparison", kRuleLeavesByComparison}};

}  // namespace

std::span<const Migration> migrations() noexcept { return kSteps; }

}  // namespace cloister::storage
