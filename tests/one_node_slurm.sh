#!/usr/bin/env bash
# A real one-node SLURM on this machine, from Debian's packages, as root: slurmctld, slurmd and munge.
#   one_node_slurm.sh start | stop FOLDER        FOLDER takes its state and its logs
# SLURM's job steps look for their settings in /etc/slurm, so a machine that has some is left alone.
# There is no accounting: Snakemake's SLURM plugin then needs --slurm-status-command squeue, for with its default it never
# sees a job end.
set -euo pipefail
folder=$2 settings=/etc/slurm/slurm.conf

start() {
    if [ -e "$settings" ] && ! grep -q "^# one_node_slurm.sh" "$settings"; then
        echo "$settings is there: this machine has a SLURM of its own" >&2
        exit 1
    fi
    command -v slurmctld >/dev/null || install_packages >&2 || {
        echo "Debian's packages slurm-wlm and munge cannot be installed here" >&2
        exit 3
    }
    mkdir -p "$folder"/{controller,node} /run/munge
    chown munge: /run/munge
    write_settings >"$settings"
    munge -n >/dev/null 2>&1 || { runuser -u munge -- munged && cp /run/munge/munged.pid "$folder/munge.pid"; }
    slurmctld
    slurmd
    for _ in $(seq 30); do
        sinfo -h -o %T 2>/dev/null | grep -q idle && return
        sleep 1
    done
    echo "the node is not idle after 30 s: see $folder/*.log" >&2
    stop
    exit 1
}

install_packages() {
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurm-wlm munge
}

write_settings() {
    local node cpus memory
    node=$(hostname -s) cpus=$(nproc) memory=$(awk '/MemTotal/{print int($2/1024*0.9)}' /proc/meminfo)
    cat <<SETTINGS
# one_node_slurm.sh wrote this and removes it
ClusterName=local
SlurmctldHost=$node(127.0.0.1)
AuthType=auth/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation=$folder/controller
SlurmdSpoolDir=$folder/node
SlurmctldPidFile=$folder/controller.pid
SlurmdPidFile=$folder/node.pid
SlurmctldLogFile=$folder/controller.log
SlurmdLogFile=$folder/node.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
ReturnToService=2
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
NodeName=$node NodeAddr=127.0.0.1 CPUs=$cpus RealMemory=$memory State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
SETTINGS
}

stop() {
    for file in "$folder/node.pid" "$folder/controller.pid" "$folder/munge.pid"; do
        [ -s "$file" ] && kill "$(cat "$file")" 2>/dev/null || true
    done
    rm -f "$settings"
}

case $1 in
start) start ;;
stop) stop ;;
*) echo "usage: $0 start|stop FOLDER" >&2; exit 2 ;;
esac
