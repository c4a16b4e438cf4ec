#!/usr/bin/env bash
# Start Ray on one node of a job; `raysearch.sbatch` runs it through srun. usage: node.sh head|worker
set -euo pipefail
role=${1:?usage: node.sh head|worker}
address=$RAY_ADDRESS
unset RAY_ADDRESS # `ray start` would take it for its own

gpus=${SLURM_STEP_GPUS:-${SLURM_JOB_GPUS:-}}
n_gpus=$(tr ',' '\n' <<<"$gpus" | grep -c . || true)
# other jobs may use this machine too: ports that Ray finds free, and no server that somebody could reach
options=(--block --num-cpus "$SLURM_CPUS_PER_TASK" --num-gpus "$n_gpus" --temp-dir "$RAYSEARCH_TEMP"
    --min-worker-port 0 --max-worker-port 0 --dashboard-agent-listen-port 0 --disable-usage-stats)
if [ "$role" = head ]; then
    options+=(--head --node-ip-address "${address%:*}" --port "${address##*:}" --include-dashboard=false)
else
    options+=(--address "$address")
fi
start() {
    # unquoted on purpose: several options in one variable
    # shellcheck disable=SC2086
    ray start "${options[@]}" ${RAYSEARCH_RAY_START:-} &
    ray=$!
    wait "$ray"
}
trap 'kill "$ray" 2>/dev/null; exit 143' TERM
# a machine under load can miss Ray's time limit for starting: that is tried again, the end of a running node is not
for _ in 1 2 3; do
    since=$SECONDS
    start && exit 0
    [ $((SECONDS - since)) -lt 90 ] || exit 1
done
exit 1
