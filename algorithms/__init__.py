"""One algorithm = one file. See ``kshot.types.MetaLearner`` for what a file provides."""
