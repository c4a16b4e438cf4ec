"""Training: how one network is trained, scored and kept: recipe, loop, averaging, checkpoints, losses, measures."""
