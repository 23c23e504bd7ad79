Every process can record a trace of what crossed its sockets; `omaim ladder` draws one or many of them as a ladder for the terminal, as a page, a picture, a capture for Wireshark, or JSON.
