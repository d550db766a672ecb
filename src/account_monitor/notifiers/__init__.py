"""Who must be told? What goes out of the process on its own account."""
