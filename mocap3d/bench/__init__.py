"""The table of published results, row by row."""
