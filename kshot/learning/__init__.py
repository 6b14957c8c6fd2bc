"""The toolbox of the algorithms: pure functions over tensors, batched over tasks; no files, no environments."""
