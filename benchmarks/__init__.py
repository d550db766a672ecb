"""Benchmarks: figures side by side from one run, since machines are noisy. Nothing here is a test."""
