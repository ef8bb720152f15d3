"""How much a request costs, in Serval and in its peers: `python -m benchmarks`."""
