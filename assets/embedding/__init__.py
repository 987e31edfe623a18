"""Stage 3: questions and models as vectors; versions of the embedder, and models that join it."""
