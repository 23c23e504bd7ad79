The SIP/IP Core: registrar with digest, Path, Service-Route, outbound, GRUU and the registration
event package; a forking proxy that keeps strangers out and identities honest; service profiles
with chains of application servers and default handling; two domains over UDP or mutual TLS.
