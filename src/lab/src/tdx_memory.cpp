#include "cloister/lab/tdx_memory.hpp"

#include <iterator>

#include "cloister/core/assert.hpp"

namespace cloister::lab::tdx {
namespace {

std::size_t frames_of(unsigned level) { return static_cast<std::size_t>(span_of(level) / kFrameSize); }

}  // namespace

Status Pamt::check_free(Hpa page, unsigned level, Operand operand) const {
  const auto size = span_of(level);
  if (page.value % size != 0) return {Code::operand_invalid, operand};
  if (page.value >= bytes_ || bytes_ - page.value < size) return {Code::operand_addr_range_error, operand};
  const auto behind = entries_.lower_bound(Hpa{page.value + size});
  if (behind == entries_.begin()) return {};
  const auto& [before, metadata] = *std::prev(behind);
  if (before.value + span_of(metadata.level) > page.value) return {Code::page_metadata_incorrect, operand};
  return {};
}

void Pamt::assign(Hpa page, const PageMetadata& metadata) {
  CLOISTER_ASSERT(check_free(page, metadata.level, Operand::none).ok());
  entries_.emplace(page, metadata);
  if (metadata.type != PageType::tdr) children_[metadata.owner] += frames_of(metadata.level);
}

void Pamt::release(Hpa page) {
  const auto entry = entries_.find(page);
  CLOISTER_ASSERT(entry != entries_.end());
  const auto& metadata = entry->second;
  if (metadata.type == PageType::tdr) {
    children_.erase(page);
  } else {
    children_[metadata.owner] -= frames_of(metadata.level);
  }
  entries_.erase(entry);
}

void Pamt::split(Hpa page) {
  const auto whole = entries_.at(page);
  CLOISTER_ASSERT(whole.type == PageType::reg && whole.level == 1);
  for (std::uint64_t offset = 0; offset < span_of(1); offset += kFrameSize) {
    entries_.insert_or_assign(Hpa{page.value + offset}, PageMetadata{PageType::reg, whole.owner, 0});
  }
}

void Pamt::join(Hpa page) {
  const auto owner = entries_.at(page).owner;
  const auto end = entries_.lower_bound(Hpa{page.value + span_of(1)});
  const auto begin = entries_.find(page);
  CLOISTER_ASSERT(static_cast<std::size_t>(std::distance(begin, end)) == frames_of(1));
  entries_.erase(std::next(begin), end);
  begin->second = {PageType::reg, owner, 1};
}

const PageMetadata* Pamt::find(Hpa page) const {
  const auto entry = entries_.find(page);
  return entry == entries_.end() ? nullptr : &entry->second;
}

std::size_t Pamt::children(Hpa owner) const {
  const auto found = children_.find(owner);
  return found == children_.end() ? 0 : found->second;
}

}  // namespace cloister::lab::tdx
