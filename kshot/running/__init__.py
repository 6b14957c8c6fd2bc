"""Running experiments: rollouts, training, evaluation, checkpoints, provenance."""
