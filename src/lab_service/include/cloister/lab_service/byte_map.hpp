#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "cloister/codec/json.hpp"
#include "cloister/core/result.hpp"
#include "cloister/evidence/quote.hpp"
#include "cloister/evidence/snp/report.hpp"

/// Evidence as bytes with names: which bytes are which field.
namespace cloister::lab_service {

struct ByteField {
  std::string name;  // with dots between the parts that it belongs to: "body.mr_enclave"
  std::size_t offset = 0;
  std::size_t size = 0;
  std::string value;  // a number, a word, or hex; shortened where it is long
};

struct ByteMap {
  std::string format;             // "quote-v3", "snp-report-v5"
  std::vector<ByteField> fields;  // in order, without gaps, of all bytes
  std::size_t signed_size = 0;    // from the first byte: what the signature covers
};

/// `unsupported` for quotes of other versions than 3.
[[nodiscard]] Result<ByteMap> map_quote(const evidence::Quote& quote);
[[nodiscard]] ByteMap map_report(const evidence::SnpReport& report);
[[nodiscard]] codec::json::Value to_json(const ByteMap& map);

}  // namespace cloister::lab_service
