"""What any entity can be on SIP: a sender, a registrant, a watcher, a notifier, a publisher."""
