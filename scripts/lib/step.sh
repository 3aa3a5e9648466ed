# How the scripts speak: one line for each thing done, with the seconds it took, on stderr so that the output of what
# runs next stays its own. A file of functions, to be sourced from the repository's root.

# step TITLE COMMAND...: runs the command with its output in a log; shows the log's end when the command fails.
step() {
  step_title=$1
  shift
  step_began=$(date +%s)
  printf 'setup: %s ... ' "$step_title" >&2
  if "$@" >.cofferdam/setup.log 2>&1 </dev/null; then
    printf '%s s\n' "$(($(date +%s) - step_began))" >&2
    return 0
  fi
  printf 'failed after %s s; the end of .cofferdam/setup.log:\n' "$(($(date +%s) - step_began))" >&2
  tail -n 25 .cofferdam/setup.log | sed 's/^/    /' >&2
  return 1
}

# stop LINE...: says why set-up cannot go on, and what to do about it.
stop() {
  printf 'setup: %s\n' "$1" >&2
  shift
  for line in "$@"; do
    printf '    %s\n' "$line" >&2
  done
  exit 1
}

# limit SECONDS COMMAND...: macOS has no timeout(1); there the command runs without a limit.
limit() {
  if has timeout; then
    timeout -k 5 "$@"
  else
    shift
    "$@"
  fi
}

has() {
  command -v "$1" >/dev/null 2>&1
}

is_root() {
  [ "$(id -u)" -eq 0 ]
}

# is_stale TARGET SOURCE...: the target is missing, or a file under the sources is newer.
is_stale() {
  [ -e "$1" ] || return 0
  is_stale_target=$1
  shift
  [ -n "$(find "$@" -type f -newer "$is_stale_target" 2>/dev/null | head -n 1)" ]
}
