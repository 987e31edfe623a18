"""Stage 4: one file for each experiment of the report."""
