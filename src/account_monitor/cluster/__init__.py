"""Who may speak for an account, where several processes monitor the same ones."""
