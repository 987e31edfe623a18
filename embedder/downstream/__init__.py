"""What an embedder is good for: one file for each experiment, functions from matrices to tables."""
