"""The bench: serving policies side by side on one model, in one interleaved run."""
