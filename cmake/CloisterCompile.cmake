# Compiler settings shared by every target of ours.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
# One code model for libraries and programs, so that all can share the precompiled header.
add_compile_options(-fPIC)

option(CLOISTER_HARDEN "Hardening flags of the release build" OFF)
option(CLOISTER_FUZZ "Build libFuzzer binaries (Clang only)" OFF)
set(CLOISTER_SANITIZE "" CACHE STRING "Sanitizers, as -fsanitize takes them")

find_program(CLOISTER_CCACHE ccache)
if(CLOISTER_CCACHE)
  # Precompiled headers need the sloppiness; the base directory lets other checkouts share the cache.
  set(CMAKE_CXX_COMPILER_LAUNCHER
      ${CMAKE_COMMAND} -E env
      CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
      CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1
      ${CLOISTER_CCACHE})
endif()

# Sanitizers apply to everything in the build, ours and what we compile of others.
if(CLOISTER_SANITIZE)
  add_compile_options(-fsanitize=${CLOISTER_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${CLOISTER_SANITIZE})
  if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    # Clang 14 cannot emit this check's prologue for split coroutines ("difference across sections").
    add_compile_options(-fno-sanitize=function)
  endif()
endif()
if(CLOISTER_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

add_library(cloister_warnings INTERFACE)
target_compile_options(cloister_warnings INTERFACE
  -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror
  $<$<COMPILE_LANGUAGE:CXX>:-Wnon-virtual-dtor> $<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes>)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CLOISTER_SANITIZE)
  # GCC 12 reports false positives of these once sanitizers instrument the code (GCC bugs 105329, 105593).
  target_compile_options(cloister_warnings INTERFACE -Wno-maybe-uninitialized -Wno-restrict -Wno-stringop-overflow -Wno-array-bounds)
elseif(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # GCC 12 reports moves out of std::variant, string concatenation and growing vectors falsely (GCC bugs 105593,
  # 105651, 107852).
  target_compile_options(cloister_warnings INTERFACE
    -Wno-restrict -Wno-maybe-uninitialized -Wno-array-bounds -Wno-stringop-overflow
    -Wno-stringop-overread)
endif()

if(CLOISTER_HARDEN)
  add_compile_options(-fstack-protector-strong -fstack-clash-protection -fcf-protection)
  add_compile_definitions(_FORTIFY_SOURCE=2 _GLIBCXX_ASSERTIONS)
  add_link_options(-Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack)
endif()

# Two heavy links at once are enough for a small machine.
set_property(GLOBAL APPEND PROPERTY JOB_POOLS link=2)
set(CMAKE_JOB_POOL_LINK link)
