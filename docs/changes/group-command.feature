`omaim group` adds, lists, shows and removes the groups and chat rooms of a running IM Server, which finds them in documents, those of users too, and reads their rules.
