"""What belongs to the notebooks alone: checks of the answers to their exercises."""
