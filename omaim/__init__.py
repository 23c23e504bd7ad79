"""The OMA SIP/SIMPLE Instant Messaging architecture, every entity a ``twistd`` plugin.

A module imports only from floors below it, and from its own package:

==  ==============================================  ==========================================
7   cli                                             the command ``omaim``
6   lab                                             a whole network in one process
5   core, im, client, features                      the entities; the small plugins
4   roles                                           what any entity can be on SIP
3   node                                            what the entities of one process share
2   net, stores                                     every socket; all state that outlives a request
1   sip, bodies                                     the protocols, without I/O
0   errors, ids, timers, grammar                    imported by all, importing nothing of ours
==  ==============================================  ==========================================

Read in the order of one message's way: :mod:`omaim.net.udp`, :mod:`omaim.sip.parser`,
:mod:`omaim.sip.matching`, :mod:`omaim.core.entity`, :mod:`omaim.core.routing`,
:mod:`omaim.im.pager`.
"""

__version__ = "0.1.0"
