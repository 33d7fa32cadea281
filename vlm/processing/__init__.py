"""Image processor, tokenizer and chat template of a checkpoint, equal to transformers' own.

Nothing here imports transformers or torch, which would slow a start by seconds.
"""
