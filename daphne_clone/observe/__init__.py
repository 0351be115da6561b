"""What an operator sees of a running server; nothing here decides how a request is served."""
