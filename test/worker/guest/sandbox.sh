#!/bin/sh
# The least of a container around a guest, for its tests: sandbox.sh GUEST ROOT CGROUP UID IDLE_SECONDS WORK_OPTIONS
# Runs as root in fresh pid and mount namespaces; becomes the guest, with the capabilities a sandbox has.
set -eu
guest=$1 root=$2 cgroup=$3 uid=$4 idle=$5 options=$6

mount -t tmpfs tmpfs "$root"
mkdir "$root/usr" "$root/proc" "$root/dev" "$root/tmp" "$root/work" "$root/sys" "$root/etc"
for link in bin lib lib64 sbin; do
  [ ! -L "/$link" ] || ln -s "usr/$link" "$root/$link"
done
mount --bind /usr "$root/usr"
mount -t proc proc "$root/proc"
: >"$root/dev/null"
: >"$root/dev/zero"
mount --bind /dev/null "$root/dev/null"
mount --bind /dev/zero "$root/dev/zero"
mount -t tmpfs -o "size=16m,nr_inodes=1024,mode=0700,uid=$uid,gid=$uid$options" tmpfs "$root/work"
mkdir "$root/dev/shm"
for scratch in tmp dev/shm; do
  mount -t tmpfs -o size=16m,nr_inodes=1024,mode=1777,nosuid,nodev,noexec tmpfs "$root/$scratch"
done
: >"$root/guest"
mount --bind "$guest" "$root/guest"

mkdir -p "$root/sys/fs/cgroup"
case $cgroup in
  '') ;;
  /sys/fs/cgroup/*) echo "the path must have a controller in it: $cgroup" >&2; exit 70 ;;
  /*) mount --bind "$cgroup" "$root/sys/fs/cgroup" ;;
  *)
    for controller in memory pids cpuacct; do
      echo 0 >"/sys/fs/cgroup/$controller/$cgroup/cgroup.procs"
      mkdir "$root/sys/fs/cgroup/$controller"
      mount --bind "/sys/fs/cgroup/$controller/$cgroup" "$root/sys/fs/cgroup/$controller"
    done
    ;;
esac
ip link set lo up
exec chroot "$root" /usr/bin/setpriv --no-new-privs --inh-caps=-all --bounding-set=-all,+setuid,+setgid,+kill \
  /usr/bin/env -i /guest "$uid" "$idle"
