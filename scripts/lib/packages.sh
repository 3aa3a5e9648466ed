# The programs that Cofferdam needs on this machine. Needs step.sh.

require_node() {
  { has node && has npm; } || stop 'Node.js 20.19 or later and npm are needed: https://nodejs.org'
  node -e 'const [a, b] = process.versions.node.split(".").map(Number);
    process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)' ||
    stop "Node.js 20.19 or later is needed. This is $(node --version): https://nodejs.org"
}

install_missing_packages() {
  missing=
  redis_is_new=
  engine_answers || has dockerd || missing='docker.io iptables'
  # The engine pulls with these. Where they are there already, the package could replace a bundle made for this machine.
  [ -z "$missing" ] || [ -e /etc/ssl/certs/ca-certificates.crt ] || missing="$missing ca-certificates"
  if ! has redis-server; then
    missing="$missing redis-server"
    redis_is_new=yes
  fi
  { has gcc && has musl-gcc; } || missing="$missing gcc libc6-dev musl-tools"
  # shellcheck disable=SC2086 # a list of words
  [ -z "$missing" ] || apt_install $missing
  # From Debian 13 on, the engine's package comes without the command line.
  has docker || apt_install docker-cli
  [ -z "$redis_is_new" ] || stop_packaged_redis
}

# What breaks hosts and networks in test/faults; only root can, and nothing is installed for anybody else.
install_test_packages() {
  { [ "$(uname -s)" = Linux ] && is_root; } || return 0
  missing=
  has ip || missing=iproute2
  { has nsenter && has unshare; } || missing="$missing util-linux"
  # shellcheck disable=SC2086 # a list of words
  [ -z "$missing" ] || apt_install $missing
}

# apt_install PACKAGE...: the lists are fetched only when apt cannot do with those it has.
apt_install() {
  has apt-get || stop "Missing here: $*" \
    'Only apt can be used to install it. These are the Debian names: install the like with your package manager.'
  # shellcheck disable=SC2016 # shown, to be typed
  is_root || stop "Root is needed to install: $*" \
    'sudo apt-get update' "sudo apt-get install -y --no-install-recommends $*" \
    'then run this again. To use Docker without root: sudo usermod -aG docker "$USER", and log in again.'
  step "installing $*" apt_install_with_lists "$@" || stop 'apt could not install what is missing (see above).'
}

apt_install_with_lists() {
  apt_install_now "$@" && return 0
  # A source that cannot be reached must not stop what the others hold.
  limit 180 apt-get -o Acquire::http::Timeout=20 -o Acquire::Retries=2 update || true
  apt_install_now "$@"
}

apt_install_now() {
  limit 900 env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 -o Acquire::Retries=2 \
    install -y --no-install-recommends "$@"
}

# Cofferdam runs a Redis of its own; the service that came with the package would only hold memory and a port.
# Called only when set-up itself has just installed it.
stop_packaged_redis() {
  if [ -d /run/systemd/system ]; then
    limit 30 systemctl disable --now redis-server >/dev/null 2>&1 || true
  elif [ -x /etc/init.d/redis-server ]; then
    limit 30 /etc/init.d/redis-server stop >/dev/null 2>&1 || true
    limit 30 update-rc.d redis-server disable >/dev/null 2>&1 || true
  fi
}

require_macos_programs() {
  has docker || stop 'Docker Desktop is needed: https://docs.docker.com/desktop' 'brew install --cask docker'
  has redis-server || stop 'redis-server is needed.' 'brew install redis'
}
