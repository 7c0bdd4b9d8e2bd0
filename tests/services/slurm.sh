#!/usr/bin/env bash
# A Slurm of one node on this machine, all its files in one folder:
#
#   slurm.sh install                  slurm-wlm and munge, as root on Debian or Ubuntu
#   slurm.sh start DIR [PORT PORT]    prints the value of SLURM_CONF, by which sbatch and the others find this Slurm
#   slurm.sh stop DIR
#
# Only root can start it. Where it does not start, for instance because the kernel refuses what slurmd needs, the last
# line of the error output says why. The node has 2 CPUs, whatever the machine has.
set -euo pipefail

fail() { echo "$*" >&2; exit 1; }

install() {
  command -v slurmctld >/dev/null && command -v munged >/dev/null && return
  [ "$(id -u)" = 0 ] || fail "only root can install Slurm"
  command -v apt-get >/dev/null || fail "there is no apt-get to install Slurm with"
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurm-wlm munge
}

start() {
  local folder=$1 host
  command -v slurmctld >/dev/null && command -v munged >/dev/null || fail "slurm-wlm and munge are not installed"
  [ "$(id -u)" = 0 ] || fail "only root can start Slurm"
  host=$(hostname -s)
  mkdir -p "$folder/state" "$folder/spool"
  head -c 1024 /dev/urandom >"$folder/munge.key"
  chmod 700 "$folder"; chmod 400 "$folder/munge.key"
  cat >"$folder/slurm.conf" <<CONF
ClusterName=okdbench
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$2
SlurmdPort=$3
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
CredType=cred/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=1,sched_interval=2,requeue_delay=1
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
KillWait=30
MinJobAge=600
NodeName=$host NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=short Nodes=$host Default=YES MaxTime=60 State=UP
PartitionName=long Nodes=$host Default=NO MaxTime=INFINITE State=UP
CONF
  export SLURM_CONF=$folder/slurm.conf
  munged --force --key-file="$folder/munge.key" --socket="$folder/munge.socket" --pid-file="$folder/munged.pid" \
    --log-file="$folder/munged.log" --seed-file="$folder/munged.seed" || fail "munged does not start"
  slurmctld -c || fail "slurmctld does not start: $(tail -1 "$folder/slurmctld.log")"
  slurmd -N "$host" || fail "slurmd does not start: $(tail -1 "$folder/slurmd.log")"
  for _ in $(seq 60); do
    if sinfo --noheader --format=%t 2>/dev/null | grep -q idle; then echo "$SLURM_CONF"; return; fi
    sleep 0.5
  done
  fail "the node does not come up: $(tail -1 "$folder/slurmd.log")"
}

stop() {
  local name
  export SLURM_CONF=$1/slurm.conf
  if [ -f "$1/slurmctld.pid" ]; then  # the steps of jobs would outlive slurmd
    scancel --state=PENDING --user=root || true
    scancel --full --signal=KILL --user=root || true
    for _ in $(seq 40); do [ -n "$(squeue --noheader || true)" ] || break; sleep 0.5; done
  fi
  for name in slurmd slurmctld munged; do
    [ ! -f "$1/$name.pid" ] || kill "$(cat "$1/$name.pid")" 2>/dev/null || true
  done
}

case ${1:-} in
  install) install ;;
  start) start "$(realpath -m "$2")" "${3:-16817}" "${4:-16818}" ;;
  stop) stop "$(realpath -m "$2")" ;;
  *) fail "usage: slurm.sh install | start DIR [PORT PORT] | stop DIR" ;;
esac
