"""What translation costs: `python -m bench.nat`, or `make bench-nat`."""
