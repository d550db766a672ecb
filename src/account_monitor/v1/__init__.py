"""V1: the messages of gRPC, made from proto/account_monitor/v1 by `make proto`. Nothing here is written by hand."""
