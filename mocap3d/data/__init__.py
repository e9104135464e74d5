"""Data sets, clips, and windows on a device."""
