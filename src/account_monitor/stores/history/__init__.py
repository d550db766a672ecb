"""History: what the journals recorded, where people and other programs can ask for it, and P&L over time.

Everything in it follows from the journals. A store that was away is caught up later, from the entry it has last.
"""
