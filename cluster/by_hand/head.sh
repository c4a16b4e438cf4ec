#!/usr/bin/env bash
# Start Ray's head on this machine. usage: head.sh ADDRESS_OF_THIS_MACHINE [options of ray start]
set -euo pipefail
address=${1:?usage: head.sh ADDRESS_OF_THIS_MACHINE [options of ray start]}
shift
export RAY_AUTH_MODE=${RAY_AUTH_MODE:-token}
[ "$RAY_AUTH_MODE" != token ] || ray get-auth-token --generate >/dev/null
# fixed ports, so that a firewall can name them; the dashboard stays on this machine
exec ray start --head --node-ip-address "$address" --port "${RAYSEARCH_RAY_PORT:-6379}" \
    --object-manager-port 8076 --node-manager-port 8077 --runtime-env-agent-port 8078 --dashboard-agent-grpc-port 8079 \
    --min-worker-port 10002 --max-worker-port 10999 --dashboard-host 127.0.0.1 --disable-usage-stats "$@"
