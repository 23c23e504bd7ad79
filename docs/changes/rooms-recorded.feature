Messages of up to `room_recorded` octets (4 MiB) are recorded in rooms; of larger ones, and of those above 1 MiB between two, the record says author, type and size.
