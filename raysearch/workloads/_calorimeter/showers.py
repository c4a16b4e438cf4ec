"""Simulated photon showers in a 15 x 15 matrix of calorimeter cells; numpy and scipy only.

The original data are not public. This simulation is raysearch's own: the longitudinal Gamma profile and the lateral
two-component profile of Grindhammer & Peters, with sizes chosen so that a 65 GeV cluster and the parametric energy
baseline look like the published ones. Source: hep-ex/0001020, sections 2 and 3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammainc

Array = NDArray[np.float32]

N_CELLS = 15
CELL_CM = 2.0

_X0_CM = 0.65  # radiation length
_CRITICAL_GEV = 0.01
_EDGES_X0 = np.array([0.0, 3.0, 4.5, 6.0, 7.5, 9.0, 11.0, 14.0, 25.0])  # slices in depth; the last edge is the back
_SAMPLING = 0.078  # a of sigma/E = a / sqrt(E) + c, in quadrature
_CONSTANT = 0.01  # c
_NOISE_GEV = 0.005
_THRESHOLD_GEV = 0.015  # zero suppression
_MAX_ANGLE, _FLAT_ANGLE = 0.31, 0.05  # rad
_CHUNK = 1000  # showers at once: the working arrays stay within the processor's caches


@dataclass(frozen=True)
class Showers:
    """Photons and what the calorimeter saw of them: `cells` `(n, 15, 15)` in GeV, first axis of a matrix is y.

    `energy_gev`, `x_cm`, `y_cm` (impact point on the front, from the centre of the matrix), `theta_x`, `theta_y` (rad)
    are `(n,)`.
    """

    cells: Array
    energy_gev: Array
    x_cm: Array
    y_cm: Array
    theta_x: Array
    theta_y: Array

    def __len__(self) -> int:
        return len(self.energy_gev)


def simulate(n: int, dataset: str, generator: np.random.Generator) -> Showers:
    """Return `n` showers of `dataset` "A" (1-100 GeV, normal incidence) or "B" (falling spectrum, inclined)."""
    energy = _energies(n, dataset, generator)
    half = CELL_CM / 2
    x, y = generator.uniform(-half, half, size=(2, n))
    inclined = dataset == "B"
    theta_x, theta_y = (_angles(n, generator) if inclined else np.zeros(n) for _ in range(2))
    cells = np.empty((n, N_CELLS, N_CELLS), dtype=np.float32)
    for start in range(0, n, _CHUNK):
        part = slice(start, start + _CHUNK)
        expected = _expected(energy[part], x[part], y[part], theta_x[part], theta_y[part], generator)
        cells[part] = _measured(expected, generator)
    columns = (np.asarray(values, dtype=np.float32) for values in (energy, x, y, theta_x, theta_y))
    return Showers(cells, *columns)


def _energies(n: int, dataset: str, generator: np.random.Generator) -> NDArray[np.float64]:
    """Return energies in GeV: uniform on 1-100 (A), or peaking at 8-10 with a tail to 100 (B)."""
    if dataset == "A":
        return np.asarray(generator.uniform(1.0, 100.0, n))
    energy = np.full(n, np.inf)
    while (outside := energy > 100.0).any():
        energy[outside] = 6.0 + generator.gamma(1.25, 13.0, int(outside.sum()))
    return energy


def _angles(n: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """Return angles in rad: equally likely below 0.05, then falling linearly to nothing at 0.31."""
    flat, edge = _FLAT_ANGLE, _MAX_ANGLE
    in_flat = generator.random(n) < flat / (flat + (edge - flat) / 2)
    size = np.where(in_flat, flat * generator.random(n), edge - (edge - flat) * np.sqrt(generator.random(n)))
    return np.asarray(size * generator.choice((-1.0, 1.0), n))


def _expected(
    energy: NDArray[np.float64],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    theta_x: NDArray[np.float64],
    theta_y: NDArray[np.float64],
    generator: np.random.Generator,
) -> Array:
    """Return the mean deposits `(n, 15, 15)`: each slice in depth spreads its energy about the track."""
    shares, depths = _longitudinal(energy, generator)
    cells = np.zeros((len(energy), N_CELLS, N_CELLS), dtype=np.float32)
    width = generator.lognormal(0.0, 0.05, len(energy))
    for share, depth in zip(shares.T, depths, strict=True):
        age = depth / depths[3]
        at_x = x + depth * _X0_CM * np.tan(theta_x)
        at_y = y + depth * _X0_CM * np.tan(theta_y)
        for weight, radius_cm in ((0.85, 1.2 + 0.8 * age), (0.15, 4.5 + 1.5 * age)):
            amount = (energy * share * weight).astype(np.float32)
            cells += amount[:, None, None] * _lateral(at_x, at_y, width * radius_cm)
    # impurities, gaps and calibration: the constant term
    cells *= (1.0 + _CONSTANT * generator.standard_normal(len(energy))).astype(np.float32)[:, None, None]
    return cells


def _longitudinal(
    energy: NDArray[np.float64], generator: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the share of energy `(n, n_slices)` by a fluctuating Gamma profile, and the slices' depths in X0.

    Source: hep-ex/0001020, eq. 2 and 3, with t_max = ln(E / E_c) + 0.5 of a photon and scale 0.5.
    """
    t_max = (np.log(energy / _CRITICAL_GEV) + 0.5) * generator.lognormal(0.0, 0.6 / np.log(energy / _CRITICAL_GEV))
    scale = 0.5 * generator.lognormal(0.0, 0.05, len(energy))
    below = gammainc((1.0 + scale * t_max)[:, None], scale[:, None] * _EDGES_X0)
    depths = (_EDGES_X0[:-1] + _EDGES_X0[1:]) / 2
    depths[-1] = 16.0  # the last slice is long, and its energy near its front
    depths[0] = 2.2
    return np.diff(below, axis=1), depths


def _lateral(x: NDArray[np.float64], y: NDArray[np.float64], radius: NDArray[np.float64]) -> Array:
    """Return the share of f(r) = 2 r R^2 / (r^2 + R^2)^2 that falls into each cell, `(n, 15, 15)`.

    f is the radial form of the density R^2 / (pi (x^2 + y^2 + R^2)^2), whose integral over a rectangle is elementary:
    no spot needs to be drawn one by one.
    """
    edges = (np.arange(N_CELLS + 1) - N_CELLS / 2) * CELL_CM
    squared = (radius**2)[:, None].astype(np.float32)
    to_x = (edges - x[:, None]).astype(np.float32)
    to_y = (edges - y[:, None]).astype(np.float32)
    root_x = 1.0 / np.sqrt(to_x**2 + squared)
    root_y = 1.0 / np.sqrt(to_y**2 + squared)
    corner = (to_x * root_x)[:, None, :] * np.arctan(to_y[:, :, None] * root_x[:, None, :])
    corner += (to_y * root_y)[:, :, None] * np.arctan(to_x[:, None, :] * root_y[:, :, None])
    return np.asarray(np.diff(np.diff(corner, axis=1), axis=2) / np.float32(2 * np.pi), dtype=np.float32)


def _measured(expected: Array, generator: np.random.Generator) -> Array:
    """Return deposits with sampling fluctuation, noise and zero suppression.

    A Poisson number of spots of energy a^2 in every cell is the law of spots drawn one by one from the profile, and
    gives sigma/E = a / sqrt(E).
    """
    spot_gev = np.float32(_SAMPLING**2)
    seen = generator.poisson(expected / spot_gev).astype(np.float32) * spot_gev
    seen += np.float32(_NOISE_GEV) * generator.standard_normal(seen.shape, dtype=np.float32)
    seen[seen < _THRESHOLD_GEV] = 0.0
    return seen
