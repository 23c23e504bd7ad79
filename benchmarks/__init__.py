"""Benchmarks: ``python -m benchmarks`` measures omaim and Kamailio in one run, on loopback."""
