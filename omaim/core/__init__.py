"""The SIP/IP Core: proxy, registrar, service invocation, discovery."""
