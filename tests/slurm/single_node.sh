#!/usr/bin/env bash
# A SLURM of one node without systemd, for tests in a container (Debian, root): single_node.sh up|down
# Two GPUs are made up: devices that swallow everything, enough to see that jobs ask for one.
set -euo pipefail
folder=${TMPDIR:-/tmp}/kshot-slurm
host=$(hostname -s)

up() {
    if ! command -v slurmctld > /dev/null; then
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
            slurmctld slurmd slurm-client munge > /dev/null
    fi
    mkdir -p "$folder"/{log,spool,state,run} /etc/slurm
    grep -q "[[:space:]]$host\b" /etc/hosts || echo "127.0.0.1 $host" >> /etc/hosts
    for i in 0 1; do
        [ -c "$folder/run/nvidia$i" ] || mknod "$folder/run/nvidia$i" c 1 3
    done
    cat > /etc/slurm/slurm.conf << EOF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
MpiDefault=none
ReturnToService=2
SlurmctldPidFile=$folder/run/slurmctld.pid
SlurmdPidFile=$folder/run/slurmd.pid
SlurmdSpoolDir=$folder/spool
StateSaveLocation=$folder/state
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdLogFile=$folder/log/slurmd.log
SwitchType=switch/none
TaskPlugin=task/none
ProctrackType=proctrack/pgid
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
MinJobAge=300
KillWait=30
DefMemPerCPU=500
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) RealMemory=$(($(awk '/MemTotal/{print $2}' /proc/meminfo) / 1024 * 3 / 4)) Gres=gpu:fake:2 State=UNKNOWN
PartitionName=cpu Nodes=ALL Default=YES MaxTime=INFINITE State=UP
PartitionName=gpu Nodes=ALL MaxTime=INFINITE State=UP
EOF
    echo "Name=gpu Type=fake File=$folder/run/nvidia[0-1] Flags=nvidia_gpu_env" > /etc/slurm/gres.conf
    # Debian's slurmd insists on loading a plugin for cgroups; nothing here uses it.
    printf 'CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n' > /etc/slurm/cgroup.conf
    mkdir -p /run/munge /var/log/munge /var/lib/munge
    [ -s /etc/munge/munge.key ] || mungekey -c
    chown -R munge:munge /run/munge /var/log/munge /var/lib/munge /etc/munge
    chmod 755 /run/munge
    munge -n > /dev/null 2>&1 || { runuser -u munge -- munged && sleep 1; }
    slurmctld -i
    sleep 1
    slurmd
    for _ in $(seq 30); do
        sinfo -h -o %T 2> /dev/null | grep -q idle && return
        sleep 1
    done
    tail -n 20 "$folder"/log/*.log >&2
    return 1
}

down() {
    for name in slurmd slurmctld; do
        if [ -f "$folder/run/$name.pid" ]; then kill "$(cat "$folder/run/$name.pid")" || true; fi
    done
    if [ -f /run/munge/munged.pid ]; then kill "$(cat /run/munge/munged.pid)" || true; fi
}

"${1:-up}"
