"""gRPC: the same views and the same stream as REST and WebSocket, as messages of `account_monitor.v1`."""
