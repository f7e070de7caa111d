"""The fair queue on a virtual clock: traces of arrivals, made or read, and what a policy makes of them.

Nothing here knows a database, a network or the time of day.
"""
