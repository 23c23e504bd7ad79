"""RFC 3261 and its relatives, without I/O."""
