"""What algorithms and task families have to fulfil, as checks that run on any of them: ``kshot test NAME``."""
