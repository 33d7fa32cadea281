"""A model that runs elsewhere: frames go to OpenAI-compatible servers, their captions come back."""
