"""Pictures for a reader: outlines by damage, panels of a pair, galleries. Without torch."""
