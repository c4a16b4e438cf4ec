"""raysearch finds robust deep-learning configurations: many instances each, judged by a robust statistic."""
