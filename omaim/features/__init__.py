"""Small plugins on hooks and taps, and examples to copy."""
