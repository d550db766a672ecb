"""What may others ask? REST, WebSocket, metrics and health: views out, nothing in."""
