IM Clients talk in sessions: they invite, accept, decline, leave, see who is writing and what was
read; MSRP goes directly between clients, over TLS if wanted.
Files go both ways, in a call of their own or beside a conversation, with progress, a hash that is
checked at the end, and resumption by either side after a break; shared files can be asked for.
What is too large for a MESSAGE goes as a large message by itself.
Clients come into rooms, see who is there, have nicknames, whisper, invite and expel; they have
conferences made, also out of a conversation of two.
The prompt has commands for all of that, and `omaim say --file` sends a file.
A client hosts a small conference itself. Bots answer in sessions and rooms, too.
Clients behind an MSRP relay get a way through it.
A session whose connection breaks gets another one while the call goes on.
