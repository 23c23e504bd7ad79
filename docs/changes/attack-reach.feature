Session descriptions no longer make a server connect to anywhere: never to well-known ports, to
addresses that no host has, to loopback addresses of a server that is not there, nor to the SIP ports
of the core and of the server itself; to a few addresses at a time only; and with `msrp_networks`
to the networks named there alone.
