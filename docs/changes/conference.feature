`omaim.bodies.conference_info` and `conference_state` tell who is in a conference, in whole and in
part, and follow what is told (RFC 4575, with nicknames).
