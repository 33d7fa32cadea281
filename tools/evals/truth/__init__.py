"""How true what a model says is: yes/no questions, captions, labels, and its own probabilities."""
