"""One model, many files: written, read, proved equal, described by a card."""
