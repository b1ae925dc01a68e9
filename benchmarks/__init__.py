"""Our figures against the raw tool, measured in turn in one run: ``python -m benchmarks``."""
