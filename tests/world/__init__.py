"""Whole searches in a deterministic world: one seed gives settings, faults and every moment at which they strike.

`python -m tests.world --seed N --verbose` carries one out again and prints its story; `--n 10000` carries many out.
What is real: race, rules, criteria, journal, runner, relay, MLflow tracker and its writer, what `resume` and `sync`
do. What the world owns: clock, disk, workers, drivers, and the store behind MLflow's interface.
"""
