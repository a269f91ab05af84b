#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "cloister/lab/tdx.hpp"

namespace cloister::lab::tdx {
namespace {

Result<void> expect(std::string_view leaf, Status status) {
  if (status.ok()) return {};
  return Error{Errc::invalid_argument, fmt::format("{}: {} ({:#x})", leaf, to_string(status.code()), status.raw())};
}

/// A host that builds one TD. What it leaves unfinished it takes down.
class Build {
 public:
  explicit Build(std::shared_ptr<Machine> machine) : machine_{std::move(machine)} {}
  Build(const Build&) = delete;
  Build& operator=(const Build&) = delete;
  ~Build() {
    if (machine_ != nullptr && created_) tear_down(*machine_, tdr_);
  }

  /// Keys, control pages, and one virtual CPU.
  Result<void> create(const TdParams& params);
  /// A page of contents, and the tables above it.
  Result<void> add(std::uint64_t gpa, measure::TdPage contents);
  Result<void> augment(std::uint64_t gpa);
  Result<void> extend(std::uint64_t gpa);
  Result<Td> finish();

 private:
  [[nodiscard]] Module& module() { return machine_->module; }
  Result<Hpa> page();
  /// Gives the page back when the leaf did not take it.
  Result<void> took(std::string_view leaf, Hpa page, Status status);
  Result<void> map(std::uint64_t gpa);

  std::shared_ptr<Machine> machine_;
  bool created_ = false;
  Hpa tdr_;
  Hpa tdvpr_;
};

Result<Hpa> Build::page() {
  const auto page = machine_->take_page();
  if (!page) return Error{Errc::overloaded, "lab machine: no memory left"};
  return *page;
}

Result<void> Build::took(std::string_view leaf, Hpa page, Status status) {
  if (!status.ok()) machine_->give_back(page);
  return expect(leaf, status);
}

Result<void> Build::create(const TdParams& params) {
  const auto hkid = machine_->free_hkid();
  if (!hkid) return Error{Errc::overloaded, "lab machine: no key id left"};
  CLOISTER_TRY(tdr, page());
  CLOISTER_CHECK(took("TDH.MNG.CREATE", tdr, module().tdh_mng_create(tdr, *hkid)));
  tdr_ = tdr;
  created_ = true;
  for (unsigned package = 0; package < module().options().packages; ++package) {
    CLOISTER_CHECK(expect("TDH.MNG.KEY.CONFIG", module().tdh_mng_key_config(tdr_, package)));
  }
  for (unsigned i = 0; i < Module::kTdcsPages; ++i) {
    CLOISTER_TRY(control, page());
    CLOISTER_CHECK(took("TDH.MNG.ADDCX", control, module().tdh_mng_addcx(control, tdr_)));
  }
  CLOISTER_CHECK(expect("TDH.MNG.INIT", module().tdh_mng_init(tdr_, params)));
  CLOISTER_TRY(tdvpr, page());
  CLOISTER_CHECK(took("TDH.VP.CREATE", tdvpr, module().tdh_vp_create(tdvpr, tdr_)));
  tdvpr_ = tdvpr;
  for (unsigned i = 1; i < Module::kTdvpsPages; ++i) {
    CLOISTER_TRY(control, page());
    CLOISTER_CHECK(took("TDH.VP.ADDCX", control, module().tdh_vp_addcx(control, tdvpr_)));
  }
  return expect("TDH.VP.INIT", module().tdh_vp_init(tdvpr_));
}

Result<void> Build::map(std::uint64_t gpa) {
  const auto& sept = module().td(tdr_)->sept;
  for (unsigned level = SecureEpt::kTopLevel; level >= 1; --level) {
    if (sept.entry(gpa, level).state == SeptState::table) continue;
    CLOISTER_TRY(table, page());
    const auto first = gpa - gpa % span_of(level);
    CLOISTER_CHECK(took("TDH.MEM.SEPT.ADD", table, module().tdh_mem_sept_add(first, level, tdr_, table)));
  }
  return {};
}

Result<void> Build::add(std::uint64_t gpa, measure::TdPage contents) {
  CLOISTER_CHECK(map(gpa));
  CLOISTER_TRY(target, page());
  return took("TDH.MEM.PAGE.ADD", target, module().tdh_mem_page_add(gpa, tdr_, target, contents));
}

Result<void> Build::augment(std::uint64_t gpa) {
  CLOISTER_CHECK(map(gpa));
  CLOISTER_TRY(target, page());
  return took("TDH.MEM.PAGE.AUG", target, module().tdh_mem_page_aug(gpa, 0, tdr_, target));
}

Result<void> Build::extend(std::uint64_t gpa) {
  for (std::uint64_t offset = 0; offset < kFrameSize; offset += measure::kTdChunkSize) {
    CLOISTER_CHECK(expect("TDH.MR.EXTEND", module().tdh_mr_extend(gpa + offset, tdr_)));
  }
  return {};
}

Result<Td> Build::finish() {
  CLOISTER_CHECK(expect("TDH.MR.FINALIZE", module().tdh_mr_finalize(tdr_)));
  CLOISTER_CHECK(expect("TDH.VP.ENTER", module().tdh_vp_enter(tdvpr_)));
  return Td{std::exchange(machine_, nullptr), tdr_, tdvpr_};
}

/// Bytes of all sections: the module keeps them while it measures.
constexpr std::uint64_t kMaxFirmwareMemory = 256U << 20;

/// The page of a section at this offset: data from the file, then zeros.
ByteArray<measure::kTdPageSize> section_page(ByteView firmware, const measure::TdvfSection& section,
                                             std::size_t offset) {
  ByteArray<measure::kTdPageSize> page{};
  const auto data = firmware.subspan(section.data_offset, section.data_size);
  if (offset < data.size()) {
    std::ranges::copy(data.subspan(offset, std::min(page.size(), data.size() - offset)), page.begin());
  }
  return page;
}

Result<void> add_section(Build& build, ByteView firmware, const measure::TdvfSection& section,
                         measure::TdvfProfile profile) {
  const bool augmented = (section.attributes & measure::TdvfSection::kPageAug) != 0;
  const bool extended = !augmented && (section.attributes & measure::TdvfSection::kMrExtend) != 0;
  for (std::uint64_t offset = 0; offset < section.memory_size; offset += kFrameSize) {
    const auto gpa = section.gpa + offset;
    if (augmented) {
      CLOISTER_CHECK(build.augment(gpa));
    } else {
      CLOISTER_CHECK(build.add(gpa, section_page(firmware, section, static_cast<std::size_t>(offset))));
    }
    if (extended && profile == measure::TdvfProfile::single_pass) CLOISTER_CHECK(build.extend(gpa));
  }
  if (!extended || profile != measure::TdvfProfile::two_pass) return {};
  for (std::uint64_t offset = 0; offset < section.memory_size; offset += kFrameSize) {
    CLOISTER_CHECK(build.extend(section.gpa + offset));
  }
  return {};
}

}  // namespace

Result<Td> launch(const std::shared_ptr<Machine>& machine, const TdParams& params,
                  std::span<const measure::TdFile> files) {
  Build build{machine};
  CLOISTER_CHECK(build.create(params));
  const auto add_measured = [&](std::uint64_t gpa, measure::TdPage page) -> Result<void> {
    CLOISTER_CHECK(build.add(gpa, page));
    return build.extend(gpa);
  };
  CLOISTER_CHECK(measure::for_each_td_page(files, add_measured));
  return build.finish();
}

Result<Td> launch_firmware(const std::shared_ptr<Machine>& machine, const TdParams& params, ByteView firmware,
                           measure::TdvfProfile profile) {
  CLOISTER_TRY(sections, measure::tdvf_sections(firmware));
  std::uint64_t memory = 0;
  for (const auto& section : sections) memory += section.memory_size;
  if (memory > kMaxFirmwareMemory) return Error{Errc::limit_exceeded, "TDVF: sections of more than 256 MiB"};
  Build build{machine};
  CLOISTER_CHECK(build.create(params));
  for (const auto& section : sections) CLOISTER_CHECK(add_section(build, firmware, section, profile));
  return build.finish();
}

}  // namespace cloister::lab::tdx
