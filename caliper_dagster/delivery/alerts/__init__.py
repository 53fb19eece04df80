"""Alerts: who is told of a failure, what they are told, and that nobody is told twice.

``message`` is what is told and how it looks to each kind of receiver, ``receivers`` sends it by
e-mail and to webhooks, ``incidents`` remembers what is open and what is still to be told. Nothing
here imports Dagster; ``dagster.sensors.alerts`` looks at its runs and checks.
"""
