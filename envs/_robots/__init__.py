"""Gymnasium's MuJoCo robots, for several families: their simulation in batches, and scripted gaits."""
