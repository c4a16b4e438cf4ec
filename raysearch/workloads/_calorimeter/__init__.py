"""The parts of the calorimeter workload: simulated showers, networks, classical baselines."""
