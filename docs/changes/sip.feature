`omaim.sip`: SIP without sockets or clock: messages, transactions, dialogs, proxying, registration, digest, events, locating servers.
