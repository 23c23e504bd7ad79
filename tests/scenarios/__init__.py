"""Every flow of the architecture as a scenario, named after what it shows."""
