"""Faults, injected: signals at random moments, damaged files, full disks. All of it by ``python -m tests.faults``."""
