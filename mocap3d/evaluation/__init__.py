"""Protocols, predictions, errors, reports."""
