Where peers may have a relay or an IM Client connect to is a setting of both, `msrp_networks` and `msrp_lowest_port`, as of the IM Server; a bot and the terminal take a `relay`.
