IM Clients talk in sessions: they invite, accept, decline, leave, see who is writing and what was
read; MSRP goes directly between clients, over TLS if wanted.
