"""What a run's folder holds: its record, its state, its prompts."""
