"""The demonstration: a NATS server, a simulated exchange whose connections fail, and who trades there."""
