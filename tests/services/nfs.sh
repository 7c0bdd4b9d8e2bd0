#!/usr/bin/env bash
# An NFS server, and machines that mount what it serves; all on this one, all files in one folder:
#
#   nfs.sh install              NFS-Ganesha, User-mode Linux and a C compiler, as root on Debian
#   nfs.sh serve DIR            serves DIR/export by NFS 4.1; also after it was killed
#   nfs.sh machine DIR N WORD...
#                               boots machine N (1 or 2), which sees this one's files, mounts DIR/export over NFS at the
#                               same place, executes the command, and is gone with it; DIR/machine-N.out has its output
#                               and status, DIR/boot-N.log what the kernel says
#   nfs.sh stop DIR
#
# Each machine is a Linux of its own, with a name, a clock, a boot ID and file caches of its own; it runs as a process,
# so that killing its process group is a power cut. The status of that process means nothing: once the command is done,
# User-mode Linux may abort instead of halting, which must lose nothing either. Only root can start them; the last line
# of the error output says why one does not start.
set -euo pipefail

fail() { echo "$*" >&2; exit 1; }
here=$(dirname "$(realpath "$0")")
network=10.213

install() {
  command -v ganesha.nfsd >/dev/null && command -v linux.uml >/dev/null && command -v modprobe >/dev/null &&
    command -v gcc >/dev/null && return
  [ "$(id -u)" = 0 ] || fail "only root can install an NFS server"
  command -v apt-get >/dev/null || fail "there is no apt-get to install an NFS server with"
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    nfs-ganesha nfs-ganesha-vfs nfs-common user-mode-linux kmod iproute2 gcc libc6-dev
}

answers() { (exec 3<>/dev/tcp/127.0.0.1/20490) 2>/dev/null; }

serve() {
  local name n
  for name in ganesha.nfsd linux.uml modprobe gcc; do
    command -v $name >/dev/null || fail "$name is not installed; tests/services/nfs.sh install"
  done
  [ "$(id -u)" = 0 ] || fail "only root can start an NFS server"
  [ -c /dev/net/tun ] || fail "there is no /dev/net/tun"
  mkdir -p "$1/export" "$1/modules/lib"
  ln -sfn /usr/lib/uml/modules "$1/modules/lib/modules"
  depmod -b "$1/modules" "$(ls /usr/lib/uml/modules | tail -1)" || fail "User-mode Linux has no modules"
  [ -f "$1/floats.so" ] || gcc -O2 -shared -fPIC -o "$1/floats.so" "$here/uml_floats.c"
  for n in 1 2; do
    ip link show "okd$n" >/dev/null 2>&1 || ip tuntap add "okd$n" mode tap || fail "no network for machine $n"
    ip addr replace "$network.$n.1/24" dev "okd$n"
    ip link set "okd$n" up
  done
  cat >"$1/ganesha.conf" <<CONF
NFS_CORE_PARAM { Protocols = 4; NFS_Port = 20490; Enable_NLM = false; Enable_RQUOTA = false; }
NFSV4 { Grace_Period = 30; Lease_Lifetime = 30; RecoveryRoot = "$1/recovery"; }
EXPORT { Export_Id = 1; Path = $1/export; Pseudo = /export; Access_Type = RW; Squash = No_Root_Squash; SecType = sys;
  Protocols = 4; Transports = TCP; FSAL { Name = VFS; } }
LOG { Default_Log_Level = CRIT; }
CONF
  mkdir -p "$1/recovery"
  if answers; then fail "another server has port 20490"; fi
  ganesha.nfsd -f "$1/ganesha.conf" -L "$1/ganesha.log" -p "$1/ganesha.pid" || fail "the NFS server does not start"
  for _ in $(seq 60); do
    if answers; then return; fi
    sleep 0.5
  done
  fail "the NFS server does not answer: $(tail -1 "$1/ganesha.log")"
}

machine() {
  local folder=$1 number=$2
  shift 2
  : >"$folder/machine-$number.out"
  { echo "cd $(printf %q "$PWD")"; export -p; printf '%q ' "$@"; } >"$folder/machine-$number.sh"
  cd "$folder"
  # Its FOLDER and MACHINE are what it is asked to boot with; the kernel hands them to the first process.
  LD_PRELOAD=$folder/floats.so exec linux.uml mem=3G "umid=okdbench-$number-$$" rootfstype=hostfs rootflags=/ rw \
    "eth0=tuntap,okd$number,,$network.$number.1" con=null con0=null,fd:1 "init=$here/nfs.sh" \
    "FOLDER=$folder" "MACHINE=$number" </dev/null >"$folder/boot-$number.log" 2>&1
}

# What a machine does: it is the first process there.
boot() {
  export PATH=/usr/sbin:/usr/bin:/sbin:/bin
  mount -t proc proc /proc
  mount -t sysfs sys /sys
  mount -t tmpfs run /run
  hostname "machine-$MACHINE"
  ip link set lo up
  ip addr add "$network.$MACHINE.2/24" dev eth0
  ip link set eth0 up
  modprobe -d "$FOLDER/modules" nfsv4
  mount -t nfs4 -o "vers=4.1,proto=tcp,port=20490" "$network.$MACHINE.1:/export" "$FOLDER/export"
  local status=0
  bash "$FOLDER/machine-$MACHINE.sh" >"$FOLDER/machine-$MACHINE.out" 2>&1 || status=$?
  echo "status $status" >>"$FOLDER/machine-$MACHINE.out"
  umount "$FOLDER/export" || true
  halt -f
}

stop() {
  local n
  pkill -KILL -f "^linux.uml .*FOLDER=$1 " || true
  [ ! -f "$1/ganesha.pid" ] || kill "$(cat "$1/ganesha.pid")" 2>/dev/null || true
  for n in 1 2; do ip link delete "okd$n" 2>/dev/null || true; done
}

if [ $$ = 1 ]; then boot; fi
case ${1:-} in
  install) install ;;
  serve) serve "$(realpath -m "$2")" ;;
  machine) folder=$(realpath "$2"); shift 2; machine "$folder" "$@" ;;
  stop) stop "$(realpath -m "$2")" ;;
  *) fail "usage: nfs.sh install | serve DIR | machine DIR N WORD... | stop DIR" ;;
esac
