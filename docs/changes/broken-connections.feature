What was on its way when an MSRP connection broke is sent again by the session that takes its place, with a client as with the IM Server between, and is shown once.
