A page of numbers for Prometheus and a readiness check: name an address with `metrics` under `[node]`, install `omaim[metrics]`.
