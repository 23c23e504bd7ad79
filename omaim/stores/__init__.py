"""All the state that outlives a request, behind zope interfaces."""
