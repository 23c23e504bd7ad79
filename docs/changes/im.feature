The IM Server serves pager mode: it passes messages on for senders and recipients, keeps them for
those who are away and delivers them in order when they are back, lets users list, fetch and delete
what waits, explodes list messages, sends the disposition notifications that are a server's to send,
and asks service features on both sides.
