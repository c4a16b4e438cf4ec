"""What neighbours say of a configuration: a Gaussian process over hyperparameters, with a part that nobody can learn.

value = intercept + main effects + pairs + u, u of the configuration alone. It is linear in its columns, so a fit and
joint draws of thousands of configurations take a second, and it knows the error of each value, and u. From one instance
of each, without any second one, scikit-learn's Gaussian process and Bayesian ridge order the best somewhat better,
forests no better (benchmarks/surrogates.py): but in the loop the process found no more, at twice the CPU time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.optimize import minimize

from raysearch.rules._encoding import Encoding

Array = NDArray[np.float64]
Rows = NDArray[np.intp]

EXPECTED = np.log([0.2, 0.02, 0.1])
"""Log variances, of a main column, of a pair's and of what nobody can learn, where a value's is 1; with a standard
deviation of 2 they are all that is known of a search before its first instance."""
LEAST_SHARE = 0.1
"""Values differ by no less than that share of their variance for other reasons than their errors."""
N_SOUGHT = 600
"""By so many configurations at most they are sought; by all that were trained is the surface fitted."""


@dataclass(frozen=True, eq=False)
class Surface:
    """The posterior of all configurations' values, given those of some; standardised by `center` and `width`."""

    columns: Array
    rows: Rows
    values: Array
    noise: Array
    """Variances of `values`."""
    own: float
    """Variance of what nobody can learn."""
    weights: Array
    root: Array
    """Lower Cholesky factor of the precision of the weights."""
    center: float
    width: float

    @classmethod
    def of(cls, encoding: Encoding, rows: Rows, values: Array, errors: Array) -> Surface:
        """Fit the `values` `(n,)` of the configurations `rows`, with standard errors `(n,)`."""
        center, variance = float(values.mean()), float(values.var())
        # what errors alone scatter is no width: from a few spreads of two instances each, wild surfaces would be learnt
        width = np.sqrt(max(variance - float((errors**2).mean()), LEAST_SHARE * variance)) or 1.0
        z, noise = (values - center) / width, (errors / width) ** 2
        columns = np.hstack([np.ones((len(encoding), 1)), encoding.main, encoding.pairs])
        sizes = (1, encoding.main.shape[1], encoding.pairs.shape[1])
        step = -(-len(rows) // N_SOUGHT)
        known, z_known, noise_known = columns[rows][::step], z[::step], noise[::step]

        def doubt(log_variances: Array) -> float:
            evidence, *_ = _solve(known, z_known, noise_known, log_variances, sizes)
            return evidence + 0.125 * float(((log_variances - EXPECTED) ** 2).sum())

        bounds = [(low, 3.0) for low in (-9.0, -12.0, -9.0)]
        found = minimize(doubt, EXPECTED, method="L-BFGS-B", bounds=bounds, options={"maxiter": 20}).x
        _, weights, root = _solve(columns[rows], z, noise, found, sizes)
        return cls(columns, rows, z, noise, float(np.exp(found[2])), weights, root, center, width)

    def mean(self) -> Array:
        """Return what each configuration is expected to be `(n_configurations,)`, its own instances counted."""
        expected = self.columns @ self.weights
        share = self.own / (self.own + self.noise)
        expected[self.rows] += share * (self.values - expected[self.rows])
        return self.center + self.width * expected

    def draw(self, generator: np.random.Generator, n: int, among: Rows | None = None) -> Array:
        """Return `n` joint draws of all configurations, or of some, `(n_configurations, n)`."""
        free = generator.standard_normal((len(self.weights), n))
        columns = self.columns if among is None else self.columns[among]
        place = np.full(len(self.columns), -1)
        place[self.rows] = np.arange(len(self.rows))
        place = place if among is None else place[among]
        here, known = np.flatnonzero(place >= 0), place[place >= 0]
        drawn = columns @ (self.weights[:, None] + solve_triangular(self.root, free, lower=True, trans=1))
        own = np.sqrt(self.own) * generator.standard_normal(drawn.shape)
        share = (self.own / (self.own + self.noise))[known, None]
        own[here] *= np.sqrt(share * self.noise[known, None] / self.own)
        own[here] += share * (self.values[known, None] - drawn[here])
        drawn += own
        found: Array = self.center + self.width * drawn
        return found


def _solve(
    columns: Array, values: Array, noise: Array, log_variances: Array, sizes: tuple[int, int, int]
) -> tuple[float, Array, Array]:
    """Return the negative log evidence, the weights and the root of their precision."""
    main, pair, own = np.exp(log_variances)
    prior = np.repeat([4.0, main, pair], sizes)
    trust = 1 / (own + noise)
    precision = (columns * trust[:, None]).T @ columns
    precision[np.diag_indices_from(precision)] += 1 / prior
    root = np.linalg.cholesky(precision)
    explained = solve_triangular(root, columns.T @ (trust * values), lower=True)
    evidence = 0.5 * (trust @ values**2 - explained @ explained)
    evidence += np.log(np.diag(root)).sum() + 0.5 * (np.log(prior).sum() - np.log(trust).sum())
    return float(evidence), solve_triangular(root, explained, lower=True, trans=1), root
