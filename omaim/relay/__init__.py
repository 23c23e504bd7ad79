"""The MSRP relay: carries sessions for clients that cannot be reached.

Spec: RFC 4976
"""
