"""One task family = one file (or package). See ``kshot.types.TaskFamily`` for what it provides."""
