A client hosts several conferences at a time; in them people send private messages, leave and come back, keep their place when a connection breaks, and have the host call others in.
