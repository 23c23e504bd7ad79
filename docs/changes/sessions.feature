Let people talk in sessions: INVITE and MSRP through the IM Servers of both domains, or from client to client.
