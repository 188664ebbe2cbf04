"""Reproducible figures. Each bench prints a table and writes `bench/results/NAME.json`."""
