A running process takes commands on a Unix socket: `omaim user` lists, shows, adds, removes and deregisters users. Logs can be JSON, one object a line, with secrets hidden.
