"""A simulated exchange: Binance's USD-M futures protocol over real sockets, with books of its own and seeded faults."""
