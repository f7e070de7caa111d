"""Use cases, one a file, named verb_noun. Each reads top to bottom: load, check, decide, record, return."""
