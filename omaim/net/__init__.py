"""Every socket: the only package that listens or connects."""
