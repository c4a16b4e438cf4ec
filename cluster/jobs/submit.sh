#!/usr/bin/env bash
# Submit a search to a running Ray cluster as a job. usage: submit.sh RUN_DIR FILE [--set key=value ...]
# RUN_DIR is a directory of the head; FILE is relative to the current directory, which is uploaded.
set -euo pipefail
[ "$#" -ge 2 ] || { echo "usage: submit.sh RUN_DIR FILE [--set key=value ...]" >&2; exit 2; }
address=${RAYSEARCH_JOBS:-http://127.0.0.1:8265}
[ -n "${MLFLOW_TRACKING_URI:-}" ] ||
    echo "MLFLOW_TRACKING_URI is not set: unless the head has it, the runs go to the job's own directory, which is temporary" >&2
id=raysearch-$(date +%Y%m%d-%H%M%S)-$$

# Only the address travels: whoever sees a cluster's jobs sees their environment. Passwords belong to the head's own.
runtime_env=$(python3 - <<'EOF'
import json, os
uri = {name: os.environ[name] for name in ["MLFLOW_TRACKING_URI"] if name in os.environ}
excludes = [".git", ".venv", "runs", "mlruns", "mlartifacts", "mlflow.db*", "__pycache__"]
print(json.dumps({"env_vars": uri, "excludes": excludes}))
EOF
)
ray job submit --address "$address" --submission-id "$id" --no-wait --working-dir . --runtime-env-json "$runtime_env" \
    -- sh cluster/run_or_resume.sh "$@"
echo "watch: ray job logs --address $address --follow $id"
echo "stop:  ray job stop --address $address $id"
