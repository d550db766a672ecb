"""Do real exchange clients, none of them patched, accept the simulated exchange?"""
