"""What one does without a network: the calibrated sum, the S-curve of the barycentre, and boosted trees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raysearch.workloads._calorimeter.showers import CELL_CM, N_CELLS, Array

Predictor = Callable[[Array], NDArray[np.float64]]


def calibrated_sum(cells: Array, energy_gev: Array) -> Predictor:
    """Return the energy as `a sum + b`, with a and b of least squared relative error on `cells` `(n, 15, 15)`."""
    weighted = np.stack([_sum(cells), np.ones(len(cells))], axis=1) / energy_gev[:, None]
    a, b = np.linalg.lstsq(weighted, np.ones(len(cells)), rcond=None)[0]
    return lambda others: np.asarray(a * _sum(others) + b)


def s_curve(cells: Array, x_cm: Array) -> Predictor:
    """Return x in cm as an odd polynomial of the energy-weighted mean of the cells' positions, fitted to `x_cm`.

    A cell sees its whole energy in its centre, which draws the barycentre there: the S-curve corrects for it.
    """
    coefficients = np.linalg.lstsq(_odd_powers(cells), x_cm, rcond=None)[0]
    return lambda others: np.asarray(_odd_powers(others) @ coefficients)


def boosted_trees(cells: Array, targets: Array, target: str, n_trees: int = 300, seed: int = 0) -> Predictor:
    """Return XGBoost on the 225 cells, their sum and barycentre; `target` is `energy` (relative error) or `position`.

    Raises ImportError, with the remedy, where xgboost is not installed.
    """
    try:
        import xgboost
    except ImportError as error:
        raise ImportError("the XGBoost baseline needs the extra: pip install 'raysearch[baselines]'") from error
    relative = target == "energy"
    weights = targets.astype(np.float64) ** -2 if relative else np.ones(len(targets))
    model: Any = xgboost.XGBRegressor(
        n_estimators=n_trees,
        learning_rate=0.1,
        max_depth=5,
        subsample=0.8,
        colsample_bytree=0.5,
        n_jobs=1,
        random_state=seed,
    )
    # as a factor on the sum, which trees cannot multiply by themselves
    scale = _sum(cells) if relative else np.ones(len(cells))
    weights = weights * scale**2
    model.fit(_columns(cells), targets / scale, sample_weight=weights / weights.mean())

    def predict(others: Array) -> NDArray[np.float64]:
        return np.asarray(model.predict(_columns(others)) * (_sum(others) if relative else 1.0))

    return predict


def _sum(cells: Array) -> NDArray[np.float64]:
    return np.asarray(np.maximum(cells.sum(axis=(1, 2), dtype=np.float64), 1e-3))


def _barycentre(cells: Array, axis: int) -> NDArray[np.float64]:
    along = (np.arange(N_CELLS) - (N_CELLS - 1) / 2) * CELL_CM
    return np.asarray((cells.sum(axis=axis, dtype=np.float64) * along).sum(axis=1) / _sum(cells))


def _odd_powers(cells: Array) -> NDArray[np.float64]:
    x = _barycentre(cells, axis=1)
    return np.stack([x, x**3, x**5], axis=1)


def _columns(cells: Array) -> NDArray[np.float64]:
    means = [_barycentre(cells, axis)[:, None] for axis in (1, 2)]
    return np.concatenate([cells.reshape(len(cells), -1), _sum(cells)[:, None], *means], axis=1)
