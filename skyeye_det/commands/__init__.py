"""One file a command: parser and call."""
