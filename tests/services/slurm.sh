#!/usr/bin/env bash
# A Slurm of one node on this machine, all its files in one folder: slurm.sh start DIR | slurm.sh stop DIR.
#
# `start` needs root on Debian or Ubuntu, installs slurm-wlm and munge where they are missing, and prints the value of
# SLURM_CONF by which sbatch and the other commands find this Slurm. Two nodes' worth of jobs run at a time (4 CPUs are
# declared, whatever the machine has). Where it cannot start, the last line of the error output says why.
set -euo pipefail

fail() { echo "$*" >&2; exit 1; }

start() {
  local folder=$1 host
  [ "$(id -u)" = 0 ] || fail "Slurm can be started by root only"
  if ! command -v slurmctld >/dev/null || ! command -v munged >/dev/null; then
    command -v apt-get >/dev/null || fail "Slurm is not installed, and there is no apt-get"
    (apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurm-wlm munge) \
      >"$folder/apt.log" 2>&1 || fail "slurm-wlm and munge cannot be installed: $(tail -1 "$folder/apt.log")"
  fi
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
NodeName=$host NodeAddr=127.0.0.1 CPUs=4 State=UNKNOWN
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
  for name in slurmd slurmctld munged; do
    [ ! -f "$1/$name.pid" ] || kill "$(cat "$1/$name.pid")" 2>/dev/null || true
  done
}

case ${1:-} in
  start) start "$(realpath -m "$2")" "${3:-16817}" "${4:-16818}" ;;
  stop) stop "$(realpath -m "$2")" ;;
  *) fail "usage: slurm.sh start DIR [PORT PORT] | slurm.sh stop DIR" ;;
esac
