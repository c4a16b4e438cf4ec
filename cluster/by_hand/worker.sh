#!/usr/bin/env bash
# Join this machine to a Ray cluster. usage: worker.sh ADDRESS_OF_THE_HEAD [options of ray start]
set -euo pipefail
head=${1:?usage: worker.sh ADDRESS_OF_THE_HEAD [options of ray start]}
shift
export RAY_AUTH_MODE=${RAY_AUTH_MODE:-token}
exec ray start --address "$head:${RAYSEARCH_RAY_PORT:-6379}" \
    --object-manager-port 8076 --node-manager-port 8077 --runtime-env-agent-port 8078 --dashboard-agent-grpc-port 8079 \
    --min-worker-port 10002 --max-worker-port 10999 --disable-usage-stats "$@"
