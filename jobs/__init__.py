"""The control plane's work: one leader that dispatches, and steps taken from the outbox through arq."""
