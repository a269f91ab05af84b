#include "cloister/kbs/vault.hpp"

#include <algorithm>

#include "cloister/codec/jcs.hpp"
#include "cloister/codec/json.hpp"
#include "cloister/crypto/hash.hpp"
#include "leaves.hpp"

namespace cloister::kbs {
namespace {

Error no_resource() { return Error{Errc::not_found, "no such resource"}; }
Error no_version(std::uint64_t version) { return Error{Errc::not_found, "no version " + std::to_string(version) + " of this resource"}; }
Error conflict(std::string detail) { return Error{Errc::conflict, std::move(detail)}; }

/// Labels say something to policies, so that an auditor compares them; in leaves, which others may see, stands their digest.
Bytes digest_of(const Labels& labels) {
  codec::json::Object object;
  for (const auto& [name, value] : labels) object.emplace_back(name, value);
  const auto text = codec::json::canonical(std::move(object));
  CLOISTER_ASSERT(text.ok());  // texts of ASCII
  return digest_bytes(crypto::sha256(as_bytes(*text)));
}

/// Whatever became of a change, what was read before it is not given out any more.
template <class Stored>
class Forgetting {
 public:
  explicit Forgetting(Stored& stored) : stored_{stored} {}
  Forgetting(const Forgetting&) = delete;
  Forgetting& operator=(const Forgetting&) = delete;
  ~Forgetting() { stored_.forget(); }

 private:
  Stored& stored_;
};

/// "1-3,7": numbers in ascending order, as many as a leaf holds.
std::string ranges_of(const std::vector<std::uint64_t>& numbers) {
  constexpr std::size_t kMax = 4096;
  std::string out;
  for (std::size_t i = 0; i < numbers.size();) {
    auto end = i;
    while (end + 1 < numbers.size() && numbers[end + 1] == numbers[end] + 1) ++end;
    if (out.size() > kMax) return out + ",…";
    out += (out.empty() ? "" : ",") + std::to_string(numbers[i]);
    if (end > i) out += '-' + std::to_string(numbers[end]);
    i = end + 1;
  }
  return out;
}

}  // namespace

template <class Act>
auto Vault::change(std::string_view kind, const rcar::ResourcePath& path, std::string_view who, UnixTime now, Act act)
    -> std::invoke_result_t<Act&, storage::Transaction&, Details&> {
  const Forgetting forgetting{stored_};
  CLOISTER_TRY(transaction, services_.database.write());
  auto leaf = leaf_of(kind, subject_of(path), now);
  leaf.details = {{"tenant", options_.tenant.str()}, {"by", std::string{who}}};
  auto done = act(transaction, leaf.details);
  if (!done) return done;
  CLOISTER_CHECK(services_.log.append(transaction, leaf));
  CLOISTER_CHECK(transaction.commit());
  return done;
}

Result<Vault::Info> Vault::find(const storage::Reading& reading, const rcar::ResourcePath& path) const {
  auto info = resources_.info(reading, options_.tenant, path.str());
  if (!info && info.error().code() == Errc::not_found) return no_resource();
  return info;
}

Result<Vault::Info> Vault::find_undeleted(const storage::Reading& reading, const rcar::ResourcePath& path) const {
  auto info = find(reading, path);
  if (info && info->deleted) return conflict("the resource is deleted: undelete it first, or purge it");
  return info;
}

Result<Vault::Version> Vault::find_version(const storage::Reading& reading, const rcar::ResourcePath& path,
                                           std::uint64_t version) const {
  auto found = resources_.version(reading, options_.tenant, path.str(), version);
  if (found ? found->purged : found.error().code() == Errc::not_found) return no_version(version);
  return found;
}

Result<void> Vault::check_quota(const storage::Reading& reading) const {
  CLOISTER_TRY(used, resources_.usage(reading, options_.tenant));
  const auto refuse = [](std::string_view what, std::uint64_t limit) {
    return Error{Errc::limit_exceeded, "the tenant's quota is " + std::to_string(limit) + ' ' + std::string{what} +
                                           ", deleted ones too: purge some, or let versions go (retention)"};
  };
  if (used.resources > options_.max_resources) return refuse("resources", options_.max_resources);
  if (used.bytes > options_.max_resource_bytes) return refuse("bytes of resources", options_.max_resource_bytes);
  return {};
}

Result<void> Vault::trim(storage::Transaction& transaction, const rcar::ResourcePath& path, std::optional<std::uint32_t> keep,
                         std::string_view who, UnixTime now) {
  if (!keep) return {};
  CLOISTER_TRY(gone, resources_.purge_older(transaction, options_.tenant, path.str(), *keep));
  if (gone.empty()) return {};
  auto leaf = leaf_of(kPurged, subject_of(path), now);
  leaf.details = {{"tenant", options_.tenant.str()}, {"by", std::string{who}}, {"versions", ranges_of(gone)}, {"keep", std::uint64_t{*keep}}};
  CLOISTER_CHECK(services_.log.append(transaction, leaf));
  return {};
}

Result<std::uint64_t> Vault::put(const rcar::ResourcePath& path, ByteView value, std::string_view who, UnixTime now,
                                 const Terms& terms) {
  if (terms.labels) CLOISTER_CHECK(check_labels(*terms.labels));
  if (terms.labels) labelled_ = Labelled::some;
  return change(kStored, path, who, now, [&](storage::Transaction& transaction, Details& details) -> Result<std::uint64_t> {
    const auto before = find_undeleted(transaction, path);
    if (!before && (terms.existing || before.error().code() != Errc::not_found)) return before.error();
    if (before && before->generator) {
      return conflict("values of this resource are made here, so that nobody knows them: rotate it, or purge it first");
    }
    CLOISTER_TRY(version, resources_.put(transaction, options_.tenant, path.str(), value, now));
    if (terms.labels) {
      CLOISTER_CHECK(resources_.set_labels(transaction, options_.tenant, path.str(), *terms.labels));
      details.emplace_back("labels", digest_of(*terms.labels));
    }
    if (before) CLOISTER_CHECK(trim(transaction, path, before->keep, who, now));
    CLOISTER_CHECK(check_quota(transaction));
    details.emplace_back("version", version);
    return version;
  });
}

Result<void> Vault::declare(const rcar::ResourcePath& path, const Generator& generator, const std::optional<Labels>& labels,
                            std::string_view who, UnixTime now) {
  if (labels) CLOISTER_CHECK(check_labels(*labels));
  if (labels) labelled_ = Labelled::some;
  return change(kDeclared, path, who, now, [&](storage::Transaction& transaction, Details& details) -> Result<void> {
    const auto before = find_undeleted(transaction, path);
    if (before) return conflict("there is such a resource: purge it first");
    if (before.error().code() != Errc::not_found) return before.error();
    CLOISTER_CHECK(resources_.declare(transaction, options_.tenant, path.str(), generator.str(), generator.bytes(), now));
    if (labels) {
      CLOISTER_CHECK(resources_.set_labels(transaction, options_.tenant, path.str(), *labels));
      details.emplace_back("labels", digest_of(*labels));
    }
    CLOISTER_CHECK(check_quota(transaction));
    details.emplace_back("generator", generator.str());
    return {};
  });
}

Result<std::uint64_t> Vault::generate(storage::Transaction& transaction, const rcar::ResourcePath& path, const Info& info,
                                      UnixTime now) {
  const auto generator = Generator::parse(info.generator.value_or(""));
  if (!generator) return Error{Errc::storage_corrupt, generator.error().detail()};
  const auto value = generator->make(services_.random);
  return resources_.put(transaction, options_.tenant, path.str(), value.reveal(), now, true);
}

Result<std::uint64_t> Vault::rotate(const rcar::ResourcePath& path, std::string_view who, UnixTime now) {
  return change(kGenerated, path, who, now, [&](storage::Transaction& transaction, Details& details) -> Result<std::uint64_t> {
    CLOISTER_TRY(info, find_undeleted(transaction, path));
    if (!info.generator) return conflict("values of this resource are put: put another one");
    CLOISTER_TRY(version, generate(transaction, path, info, now));
    CLOISTER_CHECK(trim(transaction, path, info.keep, who, now));
    CLOISTER_CHECK(check_quota(transaction));
    details.emplace_back("version", version);
    details.emplace_back("generator", *info.generator);
    return version;
  });
}

Result<void> Vault::set_current(const rcar::ResourcePath& path, std::uint64_t version, std::string_view who, UnixTime now) {
  return change(kCurrentSet, path, who, now, [&](storage::Transaction& transaction, Details& details) -> Result<void> {
    CLOISTER_TRY(info, find_undeleted(transaction, path));
    CLOISTER_TRY(wanted, find_version(transaction, path, version));
    if (wanted.deleted) return conflict("version " + std::to_string(version) + " is deleted: undelete it first");
    details.emplace_back("version", version);
    if (info.current) details.emplace_back("before", *info.current);
    return resources_.set_current(transaction, options_.tenant, path.str(), version);
  });
}

Result<void> Vault::set_labels(const rcar::ResourcePath& path, const Labels& labels, std::string_view who, UnixTime now) {
  CLOISTER_CHECK(check_labels(labels));
  labelled_ = Labelled::some;
  return change(kLabelled, path, who, now, [&](storage::Transaction& transaction, Details& details) -> Result<void> {
    CLOISTER_TRY(info, find_undeleted(transaction, path));
    details.emplace_back("labels", digest_of(labels));
    details.emplace_back("before", digest_of(info.labels));
    return resources_.set_labels(transaction, options_.tenant, path.str(), labels);
  });
}

Result<void> Vault::set_retention(const rcar::ResourcePath& path, std::optional<std::uint32_t> keep, std::string_view who,
                                  UnixTime now) {
  if (keep && (*keep == 0 || *keep > kMaxKeep)) {
    return Error{Errc::invalid_argument, "keep: 1 to " + std::to_string(kMaxKeep) + " versions expected"};
  }
  return change(kRetentionSet, path, who, now, [&](storage::Transaction& transaction, Details& details) -> Result<void> {
    CLOISTER_TRY(info, find_undeleted(transaction, path));
    static_cast<void>(info);
    if (keep) details.emplace_back("keep", std::uint64_t{*keep});
    CLOISTER_CHECK(resources_.set_keep(transaction, options_.tenant, path.str(), keep));
    return trim(transaction, path, keep, who, now);
  });
}

Result<void> Vault::mark_deleted(const rcar::ResourcePath& path, std::optional<std::uint64_t> version, std::string_view who,
                                 UnixTime now) {
  return change(kDeleted, path, who, now, [&](storage::Transaction& transaction, Details& details) -> Result<void> {
    CLOISTER_TRY(info, find(transaction, path));
    if (info.deleted) return conflict("the resource is deleted already");
    if (!version) return resources_.set_deleted(transaction, options_.tenant, path.str(), now);
    CLOISTER_TRY(one, find_version(transaction, path, *version));
    if (one.deleted) return conflict("version " + std::to_string(*version) + " is deleted already");
    details.emplace_back("version", *version);
    return resources_.set_deleted(transaction, options_.tenant, path.str(), *version, now);
  });
}

Result<void> Vault::undelete(const rcar::ResourcePath& path, std::optional<std::uint64_t> version, std::string_view who, UnixTime now) {
  return change(kUndeleted, path, who, now, [&](storage::Transaction& transaction, Details& details) -> Result<void> {
    if (!version) {
      CLOISTER_TRY(info, find(transaction, path));
      if (!info.deleted) return conflict("the resource is not deleted; one of its versions may be");
      return resources_.set_deleted(transaction, options_.tenant, path.str(), std::nullopt);
    }
    CLOISTER_TRY(info, find_undeleted(transaction, path));
    static_cast<void>(info);
    CLOISTER_TRY(one, find_version(transaction, path, *version));
    if (!one.deleted) return conflict("version " + std::to_string(*version) + " is not deleted");
    details.emplace_back("version", *version);
    return resources_.set_deleted(transaction, options_.tenant, path.str(), *version, std::nullopt);
  });
}

Result<std::vector<std::uint64_t>> Vault::erase(storage::Transaction& transaction, const rcar::ResourcePath& path) {
  CLOISTER_TRY(versions, resources_.versions(transaction, options_.tenant, path.str()));
  std::vector<std::uint64_t> out;
  for (const auto& one : versions) {
    if (!one.purged) out.push_back(one.number);
  }
  std::ranges::reverse(out);
  CLOISTER_CHECK(resources_.purge(transaction, options_.tenant, path.str()));
  return out;
}

Result<Vault::Purged> Vault::purge(const rcar::ResourcePath& path, std::optional<std::uint64_t> version, std::string_view who,
                                   UnixTime now) {
  const auto act = [&](storage::Transaction& transaction, Details& details) -> Result<std::vector<std::uint64_t>> {
    CLOISTER_TRY(info, find(transaction, path));
    std::vector<std::uint64_t> gone;
    if (version) {
      CLOISTER_TRY(one, find_version(transaction, path, *version));
      if (!one.deleted && !info.deleted) return conflict("what is purged is gone for good: delete version " + std::to_string(*version) + " first");
      CLOISTER_CHECK(resources_.purge(transaction, options_.tenant, path.str(), *version));
      gone.push_back(*version);
    } else {
      if (!info.deleted) return conflict("what is purged is gone for good: delete the resource first");
      CLOISTER_TRY(all, erase(transaction, path));
      gone = std::move(all);
      details.emplace_back("whole", std::uint64_t{1});
    }
    details.emplace_back("versions", ranges_of(gone));
    return gone;
  };
  CLOISTER_TRY(gone, change(kPurged, path, who, now, act));
  const auto emptied = services_.database.empty_log();
  return Purged{std::move(gone), emptied && *emptied};
}

Result<void> Vault::remove(const rcar::ResourcePath& path, std::string_view who, UnixTime now) {
  const auto act = [&](storage::Transaction& transaction, Details& details) -> Result<void> {
    CLOISTER_TRY(info, find(transaction, path));
    static_cast<void>(info);
    CLOISTER_TRY(gone, erase(transaction, path));
    details.emplace_back("versions", ranges_of(gone));
    return {};
  };
  CLOISTER_CHECK(change(kRemoved, path, who, now, act));
  static_cast<void>(services_.database.empty_log());  // what stays in the log goes by and by
  return {};
}

Result<std::vector<Vault::Info>> Vault::list() const {
  CLOISTER_TRY(snapshot, services_.database.read());
  return resources_.list(snapshot, options_.tenant);
}

Result<Vault::Info> Vault::info(const rcar::ResourcePath& path) const {
  CLOISTER_TRY(snapshot, services_.database.read());
  return find(snapshot, path);
}

Result<std::vector<Vault::Version>> Vault::versions(const rcar::ResourcePath& path) const {
  CLOISTER_TRY(snapshot, services_.database.read());
  CLOISTER_TRY(info, find(snapshot, path));
  static_cast<void>(info);
  return resources_.versions(snapshot, options_.tenant, path.str());
}

Result<storage::Resources::Usage> Vault::usage() const {
  CLOISTER_TRY(snapshot, services_.database.read());
  return resources_.usage(snapshot, options_.tenant);
}

Result<Labels> Vault::labels(const rcar::ResourcePath& path) const {
  if (labelled_ == Labelled::none) return Labels{};
  CLOISTER_TRY(snapshot, services_.database.read());
  if (labelled_ == Labelled::unknown) {
    CLOISTER_TRY(any, resources_.labelled(snapshot, options_.tenant));
    // Unless somebody sets labels meanwhile.
    auto expected = Labelled::unknown;
    labelled_.compare_exchange_strong(expected, any ? Labelled::some : Labelled::none);
  }
  auto found = resources_.info(snapshot, options_.tenant, path.str());
  if (found && !found->deleted) return std::move(found->labels);
  if (found || found.error().code() == Errc::not_found) return Labels{};
  return found.error();
}

Result<storage::Resources::Value> Vault::get(const rcar::ResourcePath& path, std::optional<std::uint64_t> version) {
  const Stored which{path.str(), version};
  if (const auto known = stored_.find(which)) {
    // Under a data key that was replaced it is stored otherwise by now.
    if (auto value = resources_.open_again(options_.tenant, path.str(), **known)) return value;
  }
  const auto forgotten = stored_.forgotten();
  CLOISTER_TRY(snapshot, services_.database.read());
  CLOISTER_TRY(sealed, resources_.sealed(snapshot, options_.tenant, path.str(), version));
  CLOISTER_TRY(value, resources_.open(snapshot, options_.tenant, path.str(), sealed));
  const auto size = sealed.value.size() + path.str().size();
  stored_.keep_unless_forgotten(which, std::make_shared<const storage::Resources::Sealed>(std::move(sealed)), size, forgotten);
  return value;
}

Result<storage::Resources::Value> Vault::first_use(const rcar::ResourcePath& path, std::string_view token, UnixTime now) {
  const auto awaited = [](const Info& info) { return info.pending > 0 && !info.deleted; };
  {
    CLOISTER_TRY(before, info(path));
    if (!awaited(before) && !before.current) return no_resource();
  }
  const Forgetting forgetting{stored_};
  CLOISTER_TRY(transaction, services_.database.write());
  CLOISTER_TRY(now_there, find(transaction, path));
  if (!awaited(now_there)) {
    // Another guest was the first meanwhile, and what it made may not be on disk yet.
    CLOISTER_TRY(value, resources_.get(transaction, options_.tenant, path.str()));
    CLOISTER_CHECK(transaction.commit());
    return value;
  }
  CLOISTER_TRY(version, generate(transaction, path, now_there, now));
  CLOISTER_TRY(value, resources_.get(transaction, options_.tenant, path.str(), version));
  auto leaf = leaf_of(kGenerated, subject_of(path), now);
  leaf.details = {{"tenant", options_.tenant.str()}, {"token", std::string{token}}, {"version", version}, {"generator", *now_there.generator}};
  CLOISTER_CHECK(services_.log.append(transaction, leaf));
  CLOISTER_CHECK(transaction.commit());
  return value;
}

}  // namespace cloister::kbs
