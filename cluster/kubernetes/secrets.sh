#!/usr/bin/env bash
# Make the Secret that PostgreSQL and MLflow need, with random values; an existing one stays as it is.
set -euo pipefail
namespace=${1:-raysearch}
if kubectl -n "$namespace" get secret raysearch >/dev/null 2>&1; then
    echo "secret raysearch exists already in namespace $namespace: left as it is"
    exit 0
fi
random() { head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n'; }
# on standard input, not on the command line: other users of this machine can read command lines
kubectl -n "$namespace" create -f - <<EOF
apiVersion: v1
kind: Secret
metadata:
  name: raysearch
type: Opaque
stringData:
  postgres-password: "$(random)"
  mlflow-user: admin
  mlflow-password: "$(random)"
  mlflow-flask-key: "$(random)"
EOF
