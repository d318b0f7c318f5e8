"""Networks from scratch or pretrained: built, found, loaded, quick on a CPU, ready to copy. Not how they are used."""
