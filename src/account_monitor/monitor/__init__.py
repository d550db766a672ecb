"""What happens next? The single writer of one account, and what it asks of the world."""
