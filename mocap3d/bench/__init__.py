"""The published table, row by row."""
