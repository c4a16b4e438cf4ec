"""What an instance costs in MLflow: wall and CPU milliseconds of the background writer, by store and content.

    python benchmarks/tracking.py [--n 500] [--epochs 50]

An instance is one run with 10 parameters, its loss after each epoch, four more metrics and the loss curve as CSV.
"plain client" is the same run written with MlflowClient as its documentation shows: create_run, a log_batch of
everything, log_text, set_terminated.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from raysearch.records import Configuration, InstanceKey, InstanceResult, Phase
from raysearch.tracking.mlflow import Mlflow

Numbers = tuple[float, float]
CONFIGURATION = Configuration.of({f"parameter_{i}": i for i in range(10)})


def result(seed: int, epochs: int) -> InstanceResult:
    curve = tuple(1.0 / (1 + epoch) for epoch in range(epochs))
    return InstanceResult(InstanceKey(CONFIGURATION.id, seed), 0.1, curve=curve, test_loss=0.11, seconds=1.0, node="n1")


def through_tracker(uri: str, folder: Path, n: int, epochs: int, curves: bool = True) -> Numbers:
    tracker = Mlflow(uri=uri, experiment=f"{folder.name}-{curves}", curves=curves)
    (folder / str(curves)).mkdir()
    tracker.open({"name": "benchmark"}, folder / str(curves))
    results = [result(seed, epochs) for seed in range(n)]
    wall, cpu = time.perf_counter(), time.process_time()
    for item in results:
        tracker.told(CONFIGURATION, item, Phase.RACE)
    told = time.perf_counter() - wall
    tracker.close()
    assert tracker.n_lost == 0
    assert told < 0.1 + n * 1e-3, "the race waited"
    return 1e3 * (time.perf_counter() - wall) / n, 1e3 * (time.process_time() - cpu) / n


def plain_client(uri: str, folder: Path, n: int, epochs: int) -> Numbers:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

    client = MlflowClient(uri)
    experiment = client.create_experiment("plain", artifact_location=(folder / "plain").as_uri())
    wall, cpu = time.perf_counter(), time.process_time()
    for seed in range(n):
        item = result(seed, epochs)
        run_id = client.create_run(experiment).info.run_id
        values = [Metric("loss", loss, 0, step) for step, loss in enumerate(item.curve, 1)]
        values += [Metric(name, 0.1, 0, 0) for name in ("final_loss", "test_loss", "seconds", "epochs")]
        client.log_batch(run_id, values, [Param(key, str(value)) for key, value in CONFIGURATION.parameters.items()])
        client.log_text(run_id, "epoch,loss\n", "loss_curve.csv")
        client.set_terminated(run_id)
    return 1e3 * (time.perf_counter() - wall) / n, 1e3 * (time.process_time() - cpu) / n


@contextlib.contextmanager
def server(folder: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/server.db", "--artifacts-destination", str(folder / "a")]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(command, env=environment, stdout=log, stderr=log) as process,
    ):
        try:
            for _ in range(600):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                    break
                time.sleep(0.2)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=500)
    parser.add_argument("--epochs", type=int, default=50)
    options = parser.parse_args()
    n, epochs = options.n, options.epochs
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        folders = [root / part for part in ("client", "sqlite", "server")]
        for folder in folders:
            folder.mkdir()
        rows = [("plain client, default sqlite", plain_client(f"sqlite:///{folders[0]}/m.db", folders[0], n, epochs))]
        uri = f"sqlite:///{folders[1]}/m.db"
        rows.append(("raysearch, sqlite", through_tracker(uri, folders[1], n, epochs)))
        rows.append(("raysearch, sqlite, curves: false", through_tracker(uri, folders[1], n, epochs, False)))
        with server(folders[2]) as address:
            rows.append(("raysearch, server on 127.0.0.1", through_tracker(address, folders[2], n, epochs)))
    print(f"ms per instance, n = {n}, {epochs} epochs; load at the end {os.getloadavg()[0]:.1f}")
    print(f"{'way':36s} {'wall':>8s} {'CPU':>8s}")
    for way, (wall, cpu) in rows:
        print(f"{way:36s} {wall:8.1f} {cpu:8.1f}")


if __name__ == "__main__":
    main()
