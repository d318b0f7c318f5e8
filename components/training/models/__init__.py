"""The two models of a training: untrained, pretrained, with LoRA adapters."""
