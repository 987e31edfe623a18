"""The pictures, in the UI's metadata and in the report: one file a kind of picture."""
