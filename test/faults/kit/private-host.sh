#!/bin/sh
# A host within this one: process, mount, cgroup and, where asked, network namespaces of its own.
#   private-host.sh open GROUP [NETWORK]       the host's first process; ends, and the host with it, once stdin ends
#   private-host.sh enter GROUP PID COMMAND…   runs a command on the host whose first process that is
set -eu
groups=/sys/fs/cgroup

is_unified() {
  [ "$(stat -f -c %T "$groups")" = cgroup2fs ]
}

# Every hierarchy's folder of the group, one a line.
folders() {
  if is_unified; then
    echo "$groups/$1"
  else
    for hierarchy in "$groups"/*/; do echo "$hierarchy$1"; done
  fi
}

make_group() {
  for folder in $(folders "$1"); do
    mkdir -p "$folder"
    # On the first version of control groups this one takes no process before it has these.
    for file in cpuset.cpus cpuset.mems; do
      is_unified || [ ! -e "$folder/$file" ] || cat "$(dirname "$folder")/$file" >"$folder/$file"
    done
  done
}

join_group() {
  for folder in $(folders "$1"); do
    # Where a group may not hold both processes and groups, the host's own processes are in one below.
    [ ! -d "$folder/host" ] || folder=$folder/host
    echo $$ >"$folder/cgroup.procs"
  done
}

# What a control group shows then ends at the host's own group, as on a machine of its own.
mount_groups() {
  if is_unified; then
    umount "$groups"
    mount -t cgroup2 cgroup2 "$groups"
    mkdir -p "$groups/host"
    echo $$ >"$groups/host/cgroup.procs"
    sed 's/[a-z_]*/+&/g' "$groups/cgroup.controllers" >"$groups/cgroup.subtree_control"
    return
  fi
  for hierarchy in "$groups"/*/; do
    name=$(basename "$hierarchy")
    type=$(stat -f -c %T "$hierarchy")
    umount "$hierarchy"
    case $type/$name in
      cgroup2fs/*) mount -t cgroup2 cgroup2 "$hierarchy" ;;
      */systemd) mount -t cgroup -o none,name=systemd cgroup "$hierarchy" ;;
      *) mount -t cgroup -o "$name" cgroup "$hierarchy" ;;
    esac
  done
}

case $1 in
  open)
    make_group "$2"
    join_group "$2"
    exec ${3:+nsenter --net="/run/netns/$3"} unshare --mount --pid --fork --kill-child --mount-proc --cgroup \
      --propagation private sh "$0" first-process
    ;;
  first-process)
    mount_groups
    # Where the shims of every engine have their sockets.
    mkdir -p /run/containerd
    mount -t tmpfs tmpfs /run/containerd
    echo "ready"
    # Waiting, the shell reaps whatever its host leaves behind; when it ends, so does everything on the host.
    exec 3<&0
    cat <&3 >/dev/null &
    wait $!
    ;;
  enter)
    host=$3
    join_group "$2"
    shift 3
    exec nsenter --target "$host" --mount --pid --cgroup --net -- "$@"
    ;;
esac
