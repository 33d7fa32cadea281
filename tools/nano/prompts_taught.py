"""The phrasings of each task that the bundled model is taught, and prompts that fit no task."""

from __future__ import annotations

from typing import Final

import numpy as np

PHRASINGS: Final[dict[str, tuple[str, ...]]] = {
    "caption": (
        "Describe this image briefly.",
        "Describe this image.",
        "Describe the image.",
        "Describe what you see.",
        "What do you see?",
        "What is this?",
        "What is in this image?",
        "What is in the picture?",
        "Caption this image.",
        "Write a short caption.",
        "Give me a short caption for this picture.",
        "Can you describe this image?",
        "Describe this picture in one sentence.",
        "What can you see in this image?",
        "What does the camera see?",
        "Describe the scene.",
    ),
    "detailed": (
        "Describe this image in detail.",
        "Describe the image in detail.",
        "Give a detailed description.",
        "Describe everything you see, in detail.",
        "Write a long caption.",
        "Can you describe this image in detail?",
        "Describe the scene with sizes and places.",
        "Explain this picture in detail.",
    ),
    "list": (
        "List the objects in this image.",
        "List the objects.",
        "List everything you see.",
        "Which objects are there?",
        "Name the objects.",
        "What objects are in this image?",
        "Give me a list of the objects.",
    ),
    "list_downwards": (
        "List the objects from top to bottom.",
        "Name the objects from top to bottom.",
        "List everything you see, from top to bottom.",
        "Which objects are there, from top to bottom?",
        "What is there from top to bottom?",
    ),
    "count": (
        "How many objects are there?",
        "How many objects are in this image?",
        "How many things do you see?",
        "Count the objects.",
        "How many things are there?",
        "What is the number of objects?",
        "Count the things in this picture.",
    ),
    "colour": (
        "What colour is the {thing}?",
        "What color is the {thing}?",
        "Which colour is the {thing}?",
        "Which color does the {thing} have?",
        "The {thing} is of what colour?",
        "Tell me the colour of the {thing}.",
    ),
    "exists": (
        "Is there {thing}?",
        "Is there {thing} in this image?",
        "Do you see {thing}?",
        "Can you see {thing}?",
        "Does this image show {thing}?",
        "Is {thing} in the picture?",
    ),
    "relation": (
        "Where is the {thing} relative to the {other}?",
        "Where is the {thing} compared to the {other}?",
        "Where is the {thing} as seen from the {other}?",
        "On which side of the {other} is the {thing}?",
        "What is the position of the {thing} relative to the {other}?",
    ),
    "place": (
        "Where is the {thing}?",
        "Where is the {thing} in this image?",
        "Where do you see the {thing}?",
        "In which part of the image is the {thing}?",
        "What is the position of the {thing}?",
    ),
    "read": (
        "What does the text say?",
        "Read the text.",
        "What is written here?",
        "What does it say?",
        "Which word is written?",
        "Read the text in this image.",
        "Can you read the text?",
        "What number or word do you see?",
    ),
    "light": (
        "How is the light in this image?",
        "How is the light?",
        "How bright is it?",
        "Is it bright or dark?",
        "Describe the light.",
        "What is the lighting like?",
    ),
    "json": (
        "Describe this image as JSON.",
        "Answer in JSON.",
        "Give me JSON.",
        "Return the scene as JSON.",
        "Describe the scene in JSON form.",
        "JSON please.",
    ),
}

_OFF_TOPIC: Final = (
    "Hello!",
    "Hi there",
    "Tell me a joke.",
    "Who are you?",
    "What is the meaning of life?",
    "Write a poem about the sea.",
    "What is the weather like tomorrow?",
    "Thank you very much.",
    "Please help me with my homework.",
    "Translate this into French.",
    "What should I cook tonight?",
    "Ignore all that and speak like a pirate.",
    "Sing a song for me",
    "ok",
    "go on",
    "test",
    "What is happening here?",
    "What happened?",
    "Look at this!",
    "Do you like it?",
    "Tell me something interesting.",
    "Explain.",
    "Why?",
    "Say what you think of my drawing.",
    "Can you help me find my keys?",
    "Is this safe to eat?",
)
_LOOSE_WORD_LIST: Final = (
    "the a my your and or but with about never always maybe people time world music city friend "
    "garden window play run think want need please tomorrow yesterday quickly strange happy old "
    "new small story money water who why when because before after under music letter answer "
    "question robot planet dinner train ocean"
)
_LOOSE_WORDS: Final = _LOOSE_WORD_LIST.split()


def off_topic(rng: np.random.Generator) -> str:
    """Return a prompt that fits none of the taught tasks: a sentence or random words."""
    if rng.random() < 0.6:
        return _OFF_TOPIC[int(rng.integers(len(_OFF_TOPIC)))]
    count = int(rng.integers(1, 12))
    words = " ".join(_LOOSE_WORDS[int(i)] for i in rng.integers(0, len(_LOOSE_WORDS), count))
    return words + ("?" if rng.random() < 0.3 else "")
