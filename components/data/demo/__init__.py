"""The built-in demo shop, made by rule, whose right answers are known."""
