"""Every socket: the only package that listens or connects.

Read ``network`` (what a network gives) with ``udp``, ``stream`` and ``tls`` (the real one); then
``endpoint`` and what it is made of: ``incoming`` (bytes to transactions), ``exchange`` (a request
of ours, over as many servers as it takes), ``flows`` and ``ports`` (where it listens),
``connection`` (SIP over one stream, and its limits), ``redelivery`` (answers whose connection
broke). ``resolver`` asks the DNS, ``authority`` answers for it in the lab, ``driver`` keeps the
time, ``wire`` is where watchers look.
"""
