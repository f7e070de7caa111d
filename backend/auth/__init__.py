"""Who someone is and what they may do: passwords, tokens, roles, scopes.

The use cases are in `backend.services`.
"""
