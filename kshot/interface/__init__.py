"""What Python programs use of kshot: results, policies, evaluation, curves and the pipeline (docs/python.md)."""
