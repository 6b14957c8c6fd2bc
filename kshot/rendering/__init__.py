"""Clips of policies on test tasks, before and after evidence."""
