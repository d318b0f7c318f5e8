"""Drift: how far what happens now lies from what the champion was trained on, with its history on one page."""
