"""One process as one of several that share the accounts: which are open here, and which it could take over."""
