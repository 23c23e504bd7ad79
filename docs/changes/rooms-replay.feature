What a room shows to who comes late outlives a restart, bounded by `room_replay` and `room_replay_size`, where the room is defined in a document.
