#!/bin/sh
# Start a search, or go on with the one that its run directory already holds.
# usage: run_or_resume.sh RUN_DIR FILE [--set key=value ...]
# The cluster is the one at RAY_ADDRESS; without it raysearch starts one on this machine.
set -eu
if [ "$#" -lt 2 ]; then
    echo "usage: $0 RUN_DIR FILE [--set key=value ...]" >&2
    exit 2
fi
run_dir=$1
file=$2
shift 2
[ -z "${RAY_ADDRESS:-}" ] || set -- --address "$RAY_ADDRESS" "$@"
if [ -s "$run_dir/journal.jsonl" ]; then
    exec raysearch resume "$run_dir" "$@"
fi
exec raysearch run "$file" --run-dir "$run_dir" "$@"
