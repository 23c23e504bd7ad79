`omaim.bodies.sdp`, `message_media`, `message_offers` and `file_selector` agree on MSRP sessions and
file transfers by offer and answer (RFC 8866, 3264, 4975, 6135, 6714, 8122, 5547, 7701).
