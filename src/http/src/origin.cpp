#include "origin.hpp"

#include <algorithm>
#include <boost/asio/ip/address.hpp>
#include <charconv>

namespace cloister::http {
namespace {

bool is_host(std::string_view text, bool bracketed) noexcept {
  return !text.empty() && text.size() <= 253 && std::ranges::all_of(text, [&](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' ||
           (bracketed ? c == ':' : c == '-' || c == '_');
  });
}

}  // namespace

Result<Origin> parse_origin(std::string_view url) {
  const Error bad{Errc::invalid_argument, "http://host[:port] or https://host[:port] expected"};
  Origin out;
  if (url.starts_with("https://") || url.starts_with("wss://")) out.tls = true;
  else if (!url.starts_with("http://") && !url.starts_with("ws://")) return bad;
  url.remove_prefix(url.find("//") + 2);
  if (url.ends_with('/')) url.remove_suffix(1);
  out.authority = std::string{url};
  const bool bracketed = url.starts_with('[');
  const auto end = bracketed ? url.find(']') : std::min(url.find(':'), url.size());
  if (end == std::string_view::npos) return bad;
  out.host = std::string{bracketed ? url.substr(1, end - 1) : url.substr(0, end)};
  url.remove_prefix(end + (bracketed ? 1 : 0));
  if (!is_host(out.host, bracketed)) return bad;
  out.port = out.tls ? 443 : 80;
  if (url.empty()) return out;
  const auto [stop, failure] = std::from_chars(url.data() + 1, url.data() + url.size(), out.port);
  if (url.front() != ':' || failure != std::errc{} || stop != url.data() + url.size() || out.port == 0) return bad;
  return out;
}

bool is_loopback(const std::string& host) {
  if (host == "localhost") return true;
  boost::system::error_code no;
  const auto address = boost::asio::ip::make_address(host, no);
  return !no && address.is_loopback();
}

}  // namespace cloister::http
