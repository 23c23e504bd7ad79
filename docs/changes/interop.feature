Tried with sipsak, sipp, baresip and, as a neighbour domain, Kamailio; `docs/interop.md` says how. `omaim lab --md5` is for clients that
know no other digest algorithm.
