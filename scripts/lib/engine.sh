# A Docker Engine that answers. Needs step.sh and packages.sh.

ENGINE_START_SECONDS=60

engine_answers() {
  has docker && limit 15 docker version --format '{{.Server.Version}}' >/dev/null 2>&1
}

ensure_engine() {
  engine_answers && return 0
  [ -z "${DOCKER_HOST-}" ] || stop "No Docker Engine answers at DOCKER_HOST=$DOCKER_HOST."
  [ "$(uname -s)" != Darwin ] || stop 'Docker Desktop is not running.' 'open -a Docker'
  if ! is_root; then
    # shellcheck disable=SC2016 # shown, to be typed
    [ ! -S /var/run/docker.sock ] || [ -w /var/run/docker.sock ] ||
      stop 'This user may not use Docker.' 'sudo usermod -aG docker "$USER"' 'log in again, then run this again.'
    stop 'No Docker Engine is running.' "$(engine_start_command)"
  fi
  step 'starting the Docker Engine' start_engine && return 0
  stop 'The Docker Engine does not start (see above).'
}

engine_start_command() {
  if [ -d /run/systemd/system ]; then
    echo 'sudo systemctl enable --now docker'
  else
    echo 'sudo scripts/setup'
  fi
}

start_engine() {
  if [ -d /run/systemd/system ]; then
    limit 90 systemctl enable --now docker && wait_for_engine && return 0
    systemctl --no-pager status docker
    return 1
  fi
  if is_running /var/run/docker.pid dockerd; then
    wait_for_engine
    return
  fi
  mount_control_groups
  : >.cofferdam/dockerd.log
  run_dockerd && return 0
  # A kernel without packet filtering cannot give the engine its bridge. Sandboxes have no network: they do without.
  ! kill -0 "$dockerd" 2>/dev/null && grep -q 'initializing network controller' .cofferdam/dockerd.log &&
    run_dockerd --bridge=none --iptables=false --ip6tables=false
}

# run_dockerd OPTION...: no service manager runs here, so the daemon becomes a process of its own.
run_dockerd() {
  # After `kill -9` these files stay, and the process may stay as a zombie that nobody reaps: the daemon would refuse to
  # start because it "is still running".
  is_running /var/run/docker.pid dockerd || rm -f /var/run/docker.pid
  is_running /var/run/docker/containerd/containerd.pid containerd || rm -f /var/run/docker/containerd/containerd.pid
  setsid nohup dockerd "$@" >>.cofferdam/dockerd.log 2>&1 </dev/null &
  dockerd=$!
  wait_for_engine "$dockerd" && return 0
  tail -n 12 .cofferdam/dockerd.log
  return 1
}

# is_running PID_FILE NAME: the file names a process of that name, and it is not a zombie.
is_running() {
  pid=$(cat "$1" 2>/dev/null) || return 1
  [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$2" ] || return 1
  ! grep -q '^State:[[:space:]]*[ZX]' "/proc/$pid/status" 2>/dev/null
}

# wait_for_engine [PID]: gives up early when the daemon's process has ended.
wait_for_engine() {
  deadline=$(($(date +%s) + ENGINE_START_SECONDS))
  until engine_answers; do
    [ "$(date +%s)" -lt "$deadline" ] || return 1
    [ -z "${1-}" ] || kill -0 "$1" 2>/dev/null || return 1
    sleep 0.2
  done
}

mount_control_groups() {
  grep -q ' cgroup2\{0,1\} ' /proc/mounts && return 0
  has cgroupfs-mount || apt_install_with_lists cgroupfs-mount || return 0
  cgroupfs-mount
}

# Without --oci-seccomp its kernel would know nothing of our list of system calls.
GVISOR_ARGUMENTS='"--platform=ptrace", "--network=none", "--oci-seccomp"'

# gVisor as the runtime `runsc`, a kernel of its own for each sandbox. Cofferdam runs without it: where it cannot be had,
# or the engine is not ours to configure, jobs that ask for it are refused. The platform is ptrace: it needs nothing of
# the machine, where `kvm` can hang an engine's call for ever.
ensure_gvisor() {
  [ -z "${DOCKER_HOST-}" ] && is_root && has dockerd || return 0
  engine_has_runsc && return 0
  # Only where apt knows it: a machine that cannot have it must not look for it at each start.
  has runsc || { apt_knows runsc && step 'installing runsc' apt_install_now runsc; } || return 0
  if [ -e /etc/docker/daemon.json ]; then
    echo 'setup: /etc/docker/daemon.json is yours; for gVisor, add to it and reload the engine:' >&2
    echo "    $(gvisor_entry)" >&2
    return 0
  fi
  step 'registering runsc with the engine' register_runsc || return 0
}

apt_knows() {
  has apt-cache && limit 30 apt-cache show "$1" >/dev/null 2>&1
}

engine_has_runsc() {
  limit 15 docker info --format '{{range $name, $_ := .Runtimes}}{{$name}} {{end}}' 2>/dev/null | grep -qw runsc
}

gvisor_entry() {
  printf '"runtimes": {"runsc": {"path": "%s", "runtimeArgs": [%s]}}\n' "$(command -v runsc)" "$GVISOR_ARGUMENTS"
}

# The engine reads its file again at SIGHUP: no container that runs notices.
register_runsc() {
  mkdir -p /etc/docker
  printf '{%s}\n' "$(gvisor_entry)" >/etc/docker/daemon.json
  if [ -d /run/systemd/system ]; then
    limit 30 systemctl reload docker
  else
    kill -HUP "$(cat /var/run/docker.pid)"
  fi
  deadline=$(($(date +%s) + 10))
  until engine_has_runsc; do
    [ "$(date +%s)" -lt "$deadline" ] || return 1
    sleep 0.2
  done
}
