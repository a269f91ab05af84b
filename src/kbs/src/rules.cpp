#include "cloister/kbs/rules.hpp"

#include <algorithm>
#include <array>

namespace cloister::kbs {

Further Rules::further(AttesterClass of) const {
  Further out;
  for (const auto& [name, rule] : attestation) {
    const auto about = std::string_view{name}.ends_with(kDeviceSuffix) ? AttesterClass::device : AttesterClass::cpu;
    if (about == of && name != kCpuPolicy && name != kDevicePolicy) out.push_back(&rule);
  }
  return out;
}

const ResourceRule& Rules::deciding(const rcar::ResourcePath& path) const {
  const std::array scopes{path.str(), path.repository() + '/' + path.type(), path.repository()};
  for (const auto& scope : scopes) {
    if (const auto found = resource.find(scope); found != resource.end()) return found->second;
  }
  return resource.find("")->second;
}

const ResourceRule* Rules::resource_named(std::string_view name) const {
  const auto found = std::ranges::find_if(resource, [&](const auto& one) { return one.second.ref.name == name; });
  return found == resource.end() ? nullptr : &found->second;
}

}  // namespace cloister::kbs
