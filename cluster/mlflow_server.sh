#!/bin/sh
# Start MLflow's server on PostgreSQL, with basic auth and artifacts that travel through it.
# PostgreSQL: PGHOST, PGUSER, PGDATABASE and PGPASSWORD, which libpq reads itself, so that no password stands in a URL.
# Basic auth: MLFLOW_AUTH_CONFIG_PATH, MLFLOW_AUTH_ADMIN_USERNAME, MLFLOW_AUTH_ADMIN_PASSWORD, MLFLOW_FLASK_SERVER_SECRET_KEY.
# It listens on 127.0.0.1 unless RAYSEARCH_MLFLOW_HOST says otherwise.
set -eu
: "${PGPASSWORD:?set PGPASSWORD}" "${PGDATABASE:?set PGDATABASE}"
: "${MLFLOW_AUTH_ADMIN_PASSWORD:?set MLFLOW_AUTH_ADMIN_PASSWORD}"
: "${MLFLOW_FLASK_SERVER_SECRET_KEY:?set MLFLOW_FLASK_SERVER_SECRET_KEY}"
host=${RAYSEARCH_MLFLOW_HOST:-127.0.0.1}
port=${RAYSEARCH_MLFLOW_PORT:-5000}
# the job workers run nothing that raysearch needs, and are slow to start
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION="${MLFLOW_SERVER_ENABLE_JOB_EXECUTION:-false}"
exec mlflow server --app-name basic-auth --host "$host" --port "$port" --workers "${RAYSEARCH_MLFLOW_WORKERS:-2}" \
    --backend-store-uri "postgresql+psycopg://" \
    --artifacts-destination "${RAYSEARCH_MLFLOW_ARTIFACTS:-/mlflow/artifacts}" \
    --allowed-hosts "${RAYSEARCH_MLFLOW_ALLOWED_HOSTS:-localhost:$port,127.0.0.1:$port}"
