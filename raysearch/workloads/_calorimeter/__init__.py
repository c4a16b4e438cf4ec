"""The parts of the calorimeter workload: simulated showers and networks."""
