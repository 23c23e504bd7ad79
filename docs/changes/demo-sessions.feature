The demo shows sessions, with the IM Servers between and without them, a file, deferred messages fetched in a session, a chat room, a private message and a conference.
