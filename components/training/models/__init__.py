"""The two models of a training: how they begin, the adapters that learn in their stead, how they are published."""
