#pragma once

#include <string_view>

/// The files in `page`, put into the program by the build.
namespace cloister::lab_service {

extern const std::string_view page_index_html;
extern const std::string_view page_lab_css;
extern const std::string_view page_lab_js;

}  // namespace cloister::lab_service
