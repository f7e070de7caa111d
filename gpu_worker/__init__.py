"""The GPU worker: takes orders from its own queue, renders them, uploads the bytes and reports."""
