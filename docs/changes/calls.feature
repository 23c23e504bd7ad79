User agents make and take calls: INVITE with forks, CANCEL and early dialogs, re-INVITE and UPDATE that
settle when they cross, reliable provisional responses, session timers, Replaces, Reason, and REFER for
one or many with or without reports. Session descriptions go through unread, so that a server can stand
between two parties.
