"""SIP without I/O: octets in, decisions and octets out; no clock, no socket.

Reading order: :mod:`~omaim.sip.uri`, :mod:`~omaim.sip.headers` (with
:mod:`~omaim.sip.names` and :mod:`~omaim.sip.values` behind it), :mod:`~omaim.sip.message` (with
:mod:`~omaim.sip.reasons`), :mod:`~omaim.sip.parser`.
"""
