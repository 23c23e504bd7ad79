A message to several people that does not fit into a MESSAGE goes to the list service as a large message, by `client.send` and `send_list` themselves.
