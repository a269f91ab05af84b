#pragma once

#include "cloister/lab_service/service.hpp"
#include "route_table.hpp"

/// What the files of routes share.
namespace cloister::lab_service {

inline constexpr std::int64_t kMaxName = 128;   // characters of a name: an enclave's, an identity, an owner
inline constexpr std::int64_t kMaxSteps = 128;  // of what is begun to be stepped: an enclave is loaded in 70
inline constexpr std::int64_t kMaxVmId = 64;
inline constexpr std::int64_t kMaxPolicyVersion = 64;

void add_enclave_routes(RouteTable& table, Service& service);
void add_vm_routes(RouteTable& table, Service& service);
void add_system_routes(RouteTable& table, Service& service);

/// Which machine with SEV-SNP: a parameter that says it, and what it said. "genoa".
[[nodiscard]] Field product_field(std::string_view what);
[[nodiscard]] evidence::SnpProduct product_of(const Input& in);
[[nodiscard]] std::string_view name_of(evidence::SnpProduct product) noexcept;

[[nodiscard]] codec::json::Value to_json(const Stepped& step);
/// The members that `to_json` of a step gives.
[[nodiscard]] std::vector<Field> step_fields();

}  // namespace cloister::lab_service
