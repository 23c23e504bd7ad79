A message to the address of a group reaches every member but its sender, small or large, now or later.
