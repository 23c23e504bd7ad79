"""The documents that SIP and XCAP carry: parse, values, write."""
