"""What stands before the model: the checkpoint's image processor, tokenizer and chat template.

Each does what transformers' own does, from the same files and with the same result, but imports
neither transformers nor torch: those take seconds, and a start should not.
"""
