"""The page of an assessment served to this machine, where people correct it."""
