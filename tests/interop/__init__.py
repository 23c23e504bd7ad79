"""Foreign stacks against the lab, when they are installed."""
