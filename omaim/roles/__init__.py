"""What any entity can be on SIP: sender, registrant, watcher, notifier, publisher, inviter.

A role stands on one :class:`~omaim.roles.user_agent.UserAgent`, which stands on one endpoint:

* :mod:`omaim.roles.user_agent` sends a request and returns its final answer; has requests
  answered, each seen as an :class:`~omaim.roles.incoming.Incoming`.
* :mod:`omaim.roles.registrant` keeps an address registered;
  :mod:`omaim.roles.registration_watch` learns when the network ends that.
* :mod:`omaim.roles.watcher` subscribes; :mod:`omaim.roles.notifier` serves the event packages
  that :mod:`omaim.roles.packages` describes.
* :mod:`omaim.roles.inviter` makes :class:`calls <omaim.roles.call.Call>` and takes
  :class:`invitations <omaim.roles.invitation.Invitation>`; :mod:`omaim.roles.referrer` asks
  others to call, and is asked.
* :mod:`omaim.roles.publisher` publishes; :mod:`omaim.roles.listmail` sends to lists.

The protocol itself is in the machines of :mod:`omaim.sip`; here are their hands.
"""
