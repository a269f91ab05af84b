// The data of a server from one keeper of keys to another: a file, an HSM (docs/kms.md, ADR 0092).
#include <algorithm>
#include <cstdio>

#include "cloister/audit/log.hpp"
#include "cloister/codec/json.hpp"
#include "cloister/codec/text.hpp"
#include "cloister/kms/pkcs11.hpp"
#include "cloister/kms/software.hpp"
#include "cloister/storage/access.hpp"
#include "cloister/storage/files.hpp"
#include "cloister/storage/sealing.hpp"
#include "keys.hpp"
#include "server.hpp"

namespace cloister::server {
namespace {

namespace fs = std::filesystem;
namespace json = codec::json;

constexpr std::string_view kFile = "file";
constexpr std::string_view kHsm = "hsm";

/// A keeper of keys, and where its file is to lie once the move is done.
struct Keeper {
  std::unique_ptr<kms::Kms> kms;
  std::string_view kind;
  fs::path file;     // of a file: where it is
  fs::path settled;  // of a file: where it ends
};

bool is_there(const fs::path& path) {
  std::error_code failure;
  return fs::exists(path, failure);
}

Result<Keeper> open_file(fs::path file, fs::path settled, Random& random) {
  CLOISTER_TRY(software, kms::SoftwareKms::open(file, random));
  return Keeper{std::move(software), kFile, std::move(file), std::move(settled)};
}

Result<Keeper> open_hsm(const kms::Pkcs11Uri& uri, bool make_keys, Random& random) {
  kms::Pkcs11Kms::Options options;
  options.make_keys = make_keys;
  CLOISTER_TRY(hsm, kms::Pkcs11Kms::open(uri, options, random));
  return Keeper{std::move(hsm), kHsm, {}, {}};
}

/// Its file gets out of the way at the end, and is kept: backups from before the move open by it alone.
Result<Keeper> open_source(const Config& config, std::string_view from, Random& random) {
  if (from != kFile) {
    auto uri = kms::parse_pkcs11_uri(from);
    if (!uri) return uri.error().in("--move-keys-from: `file` or a PKCS#11 URI expected");
    return open_hsm(*uri, false, random);
  }
  const auto key = config.data / "master.key";
  const auto moved = config.data / "master.key.moved";
  if (!is_there(key) && !is_there(moved)) {
    return Error{Errc::configuration_invalid, key.string() + " is not there: what `data` holds is not sealed under a file's key"};
  }
  if (is_there(key) && is_there(moved)) {
    return Error{Errc::configuration_invalid, moved.string() + " is there from a move before, and backups of then open by it alone: put it with them"};
  }
  return open_file(is_there(key) ? key : moved, moved, random);
}

/// What the configuration names. A file gets its place at the end, so that a server does not take it for the one in use before.
Result<Keeper> open_destination(const Config& config, Random& random) {
  if (config.kms) return open_hsm(*config.kms, true, random);
  const auto key = config.data / "master.key";
  return open_file(is_there(key) ? key : config.data / "master.key.new", key, random);
}

/// They follow from the root, and no other root gives them: whoever encrypts under one would lose what is under it.
Result<void> refuse_derived_keys(const storage::Reading& reading) {
  CLOISTER_TRY(count, storage::count_derived_keys(reading));
  if (count == 0) return {};
  return Error{Errc::conflict, std::to_string(count) + " versions of derived keys follow from the root that stays behind, and would be other "
                               "keys after the move: a server that gives any out stays with its root"};
}

Result<void> put(const fs::path& from, const fs::path& to) {
  if (from == to || !is_there(from)) return {};
  std::error_code failure;
  fs::rename(from, to, failure);
  if (failure) return Error{Errc::io_error, to.string() + ": " + failure.message()};
  return {};
}

/// The new file of the identity in its place. Where nothing was moved now, only if the one there is not this keeper's: a move
/// elsewhere that failed may have left a new one, too.
Result<void> settle_identity(const Config& config, const kms::Kms& keeper, const fs::path& fresh, bool moved) {
  const auto identity = config.data / kIdentityFile;
  if (!moved && is_there(identity)) {
    const auto there = load_keys(keeper, config.data);
    if (there) return {};
    if (there.error().code() == Errc::unavailable) return there.error();
  }
  return put(fresh, identity);
}

}  // namespace

Result<void> move_keys(const Config& config, std::string_view from) {
  SystemRandom random;
  const SystemClock clock;
  if (!is_there(config.data / "cloister.db")) {
    return Error{Errc::configuration_invalid, config.data.string() + " holds no database: there is nothing to move"};
  }
  if (from == kFile && !config.kms) {
    return Error{Errc::configuration_invalid, "the configuration names a file's key too: set `kms` to the HSM that is to keep the keys"};
  }
  // A server that runs has the database; nothing is made or opened beside it.
  CLOISTER_TRY(database, storage::Database::open(config.data / "cloister.db"));
  CLOISTER_TRY(source, open_source(config, from, random));
  CLOISTER_TRY(destination, open_destination(config, random));
  const fs::path new_identity = (config.data / kIdentityFile).native() + ".new";

  std::string server_id;
  CLOISTER_TRY(done, audit::Log::is_of(*database, *destination.kms));
  if (!done) {
    CLOISTER_TRY(keys, load_keys(*source.kms, config.data));
    CLOISTER_TRY(wrapped, wrap_keys(*destination.kms, keys));
    CLOISTER_CHECK(storage::replace_file(new_identity, wrapped));
    server_id = keys.server_id;
  }
  std::uint64_t data_keys = 0;
  const auto rewrap = [&](storage::Transaction& transaction) -> Result<audit::Details> {
    CLOISTER_CHECK(refuse_derived_keys(transaction));
    CLOISTER_TRY(count, storage::rewrap_data_keys(transaction, *source.kms, *destination.kms));
    CLOISTER_CHECK(storage::settings::set(transaction, kIdentitySetting, as_bytes(server_id)));
    data_keys = count;
    return audit::Details{{"data_keys", count}, {"from", std::string{source.kind}}, {"to", std::string{destination.kind}}, {"server", server_id}};
  };
  CLOISTER_TRY(moved, audit::Log::hand_on(*database, *source.kms, *destination.kms, random, config.data / "audit-head.cbor", clock.now(), rewrap));
  // From here on all is the destination's; what is left is done by the next call, if this one ends here.
  CLOISTER_CHECK(settle_identity(config, *destination.kms, new_identity, moved));
  CLOISTER_CHECK(put(destination.file, destination.settled));
  CLOISTER_CHECK(put(source.file, source.settled));
  CLOISTER_TRY(old_audit, source.kms->public_key(audit::kSigningKey));
  CLOISTER_TRY(keys, load_keys(*destination.kms, config.data));
  json::Object out{{"moved", moved},
                   {"from", source.kind},
                   {"to", destination.kind},
                   {"server_id", keys.server_id},
                   {"audit_keys", json::Array{codec::to_hex(old_audit), codec::to_hex(keys.audit)}}};
  if (moved) out.emplace_back("data_keys", data_keys);
  if (!source.settled.empty()) out.emplace_back("kept", source.settled.string());
  std::printf("%s\n", json::write(out).c_str());
  return {};
}

}  // namespace cloister::server
