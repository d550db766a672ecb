"""What do we remember? The journal, which is the truth, and what is derived from it."""
