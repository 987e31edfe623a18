"""What a user of an embedder can mend, each with a message that names the culprit and the remedy.

EmbedderError
├── EncoderError          the question encoder cannot be found or loaded
├── StoreError            the files of an embedder are absent, damaged or of another format or encoder
├── UnknownBenchmark      the embedder knows no such benchmark or category
├── UnknownModel          the embedder knows no such model, or not what it costs
├── BundleExists          a router cannot be exported into a folder that has files
├── NoEmbedder            no embedder was fitted yet (assets)
└── CannotOnboard         a model cannot be placed among the others (assets)
"""

__all__ = ["EmbedderError"]


class EmbedderError(Exception):
    """What was asked of an embedder cannot be done."""
