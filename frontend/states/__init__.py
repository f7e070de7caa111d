"""Vars and thin handlers: who asks, validate, call the gateway, set vars, toast. Nothing lasting lives here."""
