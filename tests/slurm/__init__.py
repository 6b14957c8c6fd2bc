"""The pipeline on a real SLURM: ``make test-slurm``."""
