A message can go along with an invitation to talk: it is shown with it, reported on, recorded, and
kept for later where nobody is there.
