#pragma once

#include <string>
#include <string_view>

#include "cloister/codec/json.hpp"
#include "cloister/oci/image.hpp"

namespace cloister::oci {

/// What every OCI document has in common.
[[nodiscard]] Result<codec::json::Value> parse_document(ByteView bytes, const Limits& limits, std::string_view what);
/// `schemaVersion` 2 and, where it is given, the right `mediaType`; then the fields' first problem.
[[nodiscard]] Result<void> check_schema(codec::json::Fields& fields, std::string_view expected_type);
[[nodiscard]] Result<Descriptor> parse_descriptor(const codec::json::Value& value, std::string where);

}  // namespace cloister::oci
