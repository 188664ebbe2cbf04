"""The control plane's figures: `python -m bench.control`, or `make bench-control`."""
