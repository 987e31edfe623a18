"""The default embedder, from the features of questions to models that join from a few answers."""
