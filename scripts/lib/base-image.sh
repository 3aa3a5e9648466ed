# debian:bookworm-slim, from a registry or, where none is reached, from Debian's own packages.
# Needs step.sh and packages.sh. BASE_IMAGE=debian@sha256:… pins it: then it is pulled and never made.

BASE_IMAGE=${BASE_IMAGE:-debian:bookworm-slim}
PULL_SILENCE_SECONDS=15
PULL_SECONDS=300

ensure_base_image() {
  ! limit 15 docker image inspect "$BASE_IMAGE" >/dev/null 2>&1 || return 0
  if pull_base_image; then return 0; fi
  case $BASE_IMAGE in *@sha256:*) stop "$BASE_IMAGE could not be pulled, and another is not wanted." ;; esac
  has mmdebstrap || has apt-get ||
    stop "$BASE_IMAGE could not be pulled, and only Debian's mmdebstrap could make it." "docker pull $BASE_IMAGE"
  has mmdebstrap || apt_install mmdebstrap debian-archive-keyring
  step "making $BASE_IMAGE from Debian packages (no registry reached)" import_base_image ||
    stop "$BASE_IMAGE could neither be pulled nor made (see above)."
}

# A registry that cannot be reached may fail at once or never: a pull that has said nothing for a while is given up.
pull_base_image() {
  : >.cofferdam/pull.log
  printf 'setup: pulling %s ... ' "$BASE_IMAGE" >&2
  docker pull "$BASE_IMAGE" >.cofferdam/pull.log 2>&1 </dev/null &
  puller=$!
  waited=0
  while kill -0 "$puller" 2>/dev/null; do
    if [ "$waited" -ge "$PULL_SECONDS" ] ||
      { [ "$waited" -ge "$PULL_SILENCE_SECONDS" ] && [ ! -s .cofferdam/pull.log ]; }; then
      kill -9 "$puller" 2>/dev/null || true
      break
    fi
    sleep 1
    waited=$((waited + 1))
  done
  if wait "$puller" 2>/dev/null; then
    printf '%s s\n' "$waited" >&2
  else
    printf 'not reached after %s s\n' "$waited" >&2
    return 1
  fi
}

import_base_image() {
  work=$(mktemp -d)
  write_sources >"$work/bookworm.list"
  write_apt_options >"$work/apt.conf"
  made=yes
  # The same folders are left out as in the published slim image. A set of device files is not for an image.
  limit 600 mmdebstrap --variant=minbase --skip=output/dev --aptopt="$work/apt.conf" \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/info/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    bookworm "$work/root.tar" "$work/bookworm.list" &&
    limit 120 docker import --change 'CMD ["bash"]' "$work/root.tar" "$BASE_IMAGE" || made=
  rm -rf "$work"
  [ -n "$made" ]
}

# This machine's own mirror of Debian, as apt knows it: for bookworm if it has that, else the same mirror's bookworm.
write_sources() {
  # shellcheck disable=SC2016 # apt's own fields
  apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' 'Origin: Debian' |
    sort -u | awk '
      $2 ~ /^bookworm/ && $3 == "main" { print "deb", $0; found = 1 }
      $2 !~ /[-\/]/ { mirror = $1 }
      END { if (!found) print "deb", (mirror ? mirror : "http://deb.debian.org/debian"), "bookworm", "main" }'
}

# How this machine reaches its mirror (proxies, clocks that are off) holds inside the image too.
write_apt_options() {
  apt-config dump | grep -E '^Acquire::(Check-|http::|https::)' || true
}
