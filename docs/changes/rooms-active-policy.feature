Rooms keep to the `session-active-policy` of their group: how long a session lasts, and when there may be one; a change is in force in open rooms.
