Tried with sipsak, sipp, baresip and, as a neighbour domain, Kamailio; `docs/interop.md` says how.
