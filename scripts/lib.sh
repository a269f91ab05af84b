# Shared by the scripts here; sourced, not run.

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# One visible line a step; colour only on a terminal.
if [ -t 1 ]; then bold=$'\e[1m' plain=$'\e[0m'; else bold='' plain=''; fi
say() { printf '%s==> %s%s\n' "$bold" "$*" "$plain"; }
fail() {
  printf 'error: %s\n' "$1" >&2
  [ $# -lt 2 ] || printf 'remedy: %s\n' "$2" >&2
  exit 1
}

# How many compilers run at once: one a core, but no more than the memory bears (about 1.5 GiB each).
jobs_here() {
  local cores memory
  cores=$(nproc)
  memory=$(awk '/MemAvailable/ {print int($2 / 1572864)}' /proc/meminfo)
  [ "$memory" -ge 1 ] || memory=1
  if [ "$memory" -lt "$cores" ]; then echo "$memory"; else echo "$cores"; fi
}

# configure_and_build PRESET [TARGET…]
configure_and_build() {
  local preset=$1
  shift
  say "Configuring the $preset build"
  cmake -S "$repository" --preset "$preset" >"/tmp/cloister-configure-$preset-$$.log" 2>&1 || {
    tail -n 25 "/tmp/cloister-configure-$preset-$$.log" >&2
    fail "configuring the $preset build failed" "the log is in /tmp/cloister-configure-$preset-$$.log"
  }
  rm -f "/tmp/cloister-configure-$preset-$$.log"
  say "Building ($preset, $(jobs_here) at a time)"
  local targets=()
  [ $# -eq 0 ] || targets=(--target "$@")
  cmake --build "$repository/build/$preset" --parallel "$(jobs_here)" "${targets[@]}"
}
