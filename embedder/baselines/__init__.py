"""What the embedder has to beat: rates, nearest neighbours, and the paper's matrix factorisation."""
