Benchmarks measure omaim and Kamailio side by side, in one command; docs/performance.md says what and how fast.
