IM Clients fetch deferred messages (`client.deferred.fetch`) and recorded conversations (`client.history.replay`) in a session.
