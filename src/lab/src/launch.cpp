#include <fmt/format.h>

#include <string_view>

#include "cloister/lab/tdx.hpp"

namespace cloister::lab::tdx {
namespace {

Result<void> expect(std::string_view leaf, Status status) {
  if (status.ok()) return {};
  return Error{Errc::invalid_argument, fmt::format("{}: {} ({:#x})", leaf, to_string(status.code()), status.raw())};
}

/// Control structures: keys, the TD's pages, and one virtual CPU.
Result<void> create(Td& td, const TdParams& params) {
  CLOISTER_CHECK(expect("TDH.MNG.KEY.CONFIG", td.mng_key_config()));
  for (unsigned i = 0; i < Td::kTdcsPages; ++i) CLOISTER_CHECK(expect("TDH.MNG.ADDCX", td.mng_addcx()));
  CLOISTER_CHECK(expect("TDH.MNG.INIT", td.mng_init(params)));
  CLOISTER_CHECK(expect("TDH.VP.CREATE", td.vp_create()));
  for (unsigned i = 1; i < Td::kTdvpsPages; ++i) CLOISTER_CHECK(expect("TDH.VP.ADDCX", td.vp_addcx(0)));
  return expect("TDH.VP.INIT", td.vp_init(0));
}

/// The tables that a page at `gpa` needs, and that are not there yet.
Result<void> map(Td& td, std::uint64_t gpa) {
  for (unsigned level = 3; level >= 1; --level) {
    const auto span = std::uint64_t{1} << (12 + 9 * level);
    const auto status = td.mem_sept_add(gpa - gpa % span, level);
    if (status.code() != Code::ept_entry_state_incorrect) CLOISTER_CHECK(expect("TDH.MEM.SEPT.ADD", status));
  }
  return {};
}

Result<void> add(Td& td, std::uint64_t gpa, measure::TdPage page) {
  CLOISTER_CHECK(map(td, gpa));
  CLOISTER_CHECK(expect("TDH.MEM.PAGE.ADD", td.mem_page_add(gpa, page)));
  for (std::size_t offset = 0; offset < measure::kTdPageSize; offset += measure::kTdChunkSize) {
    CLOISTER_CHECK(expect("TDH.MR.EXTEND", td.mr_extend(gpa + offset)));
  }
  return {};
}

}  // namespace

Result<Td> launch(const ModuleInfo& module, const ReportKey& key, const TdParams& params,
                  std::span<const measure::TdFile> files) {
  Td td{module, key};
  CLOISTER_CHECK(create(td, params));
  CLOISTER_CHECK(measure::for_each_td_page(files, [&](std::uint64_t gpa, measure::TdPage page) { return add(td, gpa, page); }));
  CLOISTER_CHECK(expect("TDH.MR.FINALIZE", td.mr_finalize()));
  return td;
}

}  // namespace cloister::lab::tdx
