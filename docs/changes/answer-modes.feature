Callers may ask for an automatic answer (RFC 5373); the callee's IM Server decides by its policy, and
clients, prompt (`--auto-answer`, `/auto`) and bots obey it alone.
