"""The text of an answer without thoughts, end-of-turn tokens and stop texts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

# How a model that thinks first marks its thoughts, if its server does not separate them.
_THOUGHT_MARKS: Final = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "<thought>": "</thought>",
    "<reasoning>": "</reasoning>",
    "<seed:think>": "</seed:think>",
    "[THINK]": "[/THINK]",
    "◁think▷": "◁/think▷",
}
_THOUGHT_ENDS: Final = tuple(_THOUGHT_MARKS.values())
_END_OF_THOUGHTS: Final = re.compile("|".join(map(re.escape, _THOUGHT_ENDS)))
# A longer text before the mark that ends thoughts cannot be the answer itself.
_MAX_GUESSED_CHARS: Final = 64 * 2**10
# Special tokens that a server shows by mistake. What follows one is another turn, which the model
# makes up.
_TURN_ENDS: Final = (
    "<end_of_utterance>",
    "<end_of_turn>",
    "<turn|>",
    "<|im_end|>",
    "<|im_start|>",
    "<start_of_turn>",
    "<|start_header_id|>",
    "<|user|>",
    "<|observation|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|eot|>",
    "<|end|>",
    "<|end_of_text|>",
    "<|endoftext|>",
    "<|end_of_turn|>",
    "<|end_of_sentence|>",
    "<|endofturn|>",
    "<|return|>",
    "<|eos|>",
    "<|END_OF_TURN_TOKEN|>",
    "<\uff5cend\u2581of\u2581sentence\uff5c>",
)
# Ordinary text may hold these: they are cut only if nothing follows them.
_LAST_ONLY: Final = ("</s>", "<eos>", "<EOS>", "[EOS]", "<pad>")


class AnswerText:
    """Lets the text of one answer pass up to its end, without its thoughts.

    What passes in all does not depend on the pieces in which the text arrives. What may be the
    beginning of a mark is held back until that is certain.
    """

    def __init__(
        self,
        stops: Sequence[str] = (),
        has_form: bool = False,
        is_thinking: bool = False,
        continues: bool = False,
    ) -> None:
        """`stops` end the answer. With `has_form`, end-of-turn tokens count only at its end.

        `is_thinking`: the prompt already holds the mark with which thoughts begin. `continues`: the
        text goes on with a message, so that white space at its start belongs to it.
        """
        anywhere = tuple(filter(None, (*stops, *(() if has_form else _TURN_ENDS))))
        self._anywhere = _one_of(anywhere) if anywhere else None
        self._last_only = (*_LAST_ONLY, *(_TURN_ENDS if has_form else ()))
        self._watched = (*anywhere, *self._last_only, *_THOUGHT_ENDS)
        self._held = ""
        # Number of characters of the thoughts in it that were searched for their end.
        self._searched = 0
        self._has_text = continues
        self._has_passed = False
        self._guesses_thoughts = is_thinking and not continues
        # The marks that end the thoughts, while they last.
        self._ends: tuple[str, ...] = _THOUGHT_ENDS if self._guesses_thoughts else ()
        self.had_thoughts = False
        """The answer has a block of thoughts."""
        self.is_over = False
        """A stop or an end-of-turn token has come: the rest is dropped."""
        self.has_shown_thoughts = False
        """The text so far was thoughts: an end mark came without a start mark."""

    @property
    def is_thinking(self) -> bool:
        """Return whether the newest text belongs to thoughts."""
        return bool(self._ends)

    @property
    def guessed_wrong(self) -> bool:
        """Return whether no thoughts came, though the answer was to begin with them."""
        return self._guesses_thoughts and not self.had_thoughts

    def add(self, text: str) -> str:
        """Take more text; return what of the text so far may be shown now."""
        if self.is_over:
            return ""
        self._held += text
        return self._pass(is_last=False)

    def finish(self, is_whole: bool = True) -> str:
        """Return the text that was held back, if any. No text comes after it.

        `is_whole`: the model ended the answer, by no limit.
        """
        if self.is_over:
            return ""
        if self._ends and self.guessed_wrong and is_whole:
            self._ends = ()
        return self._pass(is_last=True)

    def _pass(self, is_last: bool) -> str:
        while True:
            while not self._has_text:
                if not (self._skip_thoughts() if self._ends else self._open_thoughts(is_last)):
                    return ""
            text = self._cut(is_last)
            # Else thoughts without a beginning have ended before anything passed.
            if self._has_text:
                self._has_passed = self._has_passed or bool(text)
                return text

    def _skip_thoughts(self) -> bool:
        """Drop thoughts; return whether they are over."""
        longest = max(map(len, self._ends))
        found = _one_of(self._ends).search(self._held, max(0, self._searched - longest))
        if found is not None:
            self._held = self._held[found.end() :]
            self._ends = ()
            self.had_thoughts = True
            return True
        if len(self._held) > _MAX_GUESSED_CHARS:
            self.had_thoughts = True
        if self.had_thoughts:
            self._held = self._held[-longest:]
        self._searched = len(self._held)
        return False

    def _open_thoughts(self, is_last: bool) -> bool:
        """Look for thoughts at the beginning; return whether it is certain what comes."""
        self._held = self._held.lstrip()
        for start, end in _THOUGHT_MARKS.items():
            if self._held.startswith(start):
                self._held = self._held[len(start) :]
                self._ends, self._searched = (end,), 0
                self.had_thoughts = True
                return True
        if not self._held or (not is_last and _is_beginning(self._held, tuple(_THOUGHT_MARKS))):
            return False
        self._has_text = True
        return True

    def _cut(self, is_last: bool) -> str:
        text, self._held = self._held, ""
        found = self._anywhere.search(text) if self._anywhere is not None else None
        certain = len(text) if found is None else found.start()
        if not self.had_thoughts:
            behind = _behind_thoughts(text[:certain], is_last and found is None)
            if behind is not None:
                self._leave_thoughts(text[behind:])
                return ""
        if found is not None:
            self.is_over = True
            return text[:certain].rstrip()
        end = certain if is_last else _end_of_certain(text, self._watched)
        end = _without_last(text, end, self._last_only)
        if not is_last:
            if not self.had_thoughts:
                end = _without_last(text, end, _THOUGHT_ENDS)
            self._held = text[end:]
        return text[:end]

    def _leave_thoughts(self, rest: str) -> None:
        self.had_thoughts = True
        if self._has_passed:
            self.has_shown_thoughts = self.is_over = True
        else:
            self._held, self._has_text = rest, False


def _one_of(texts: Sequence[str]) -> re.Pattern[str]:
    return re.compile("|".join(re.escape(each) for each in texts))


def _is_beginning(text: str, marks: Sequence[str]) -> bool:
    """Return whether `text` is the beginning of one of `marks`, and not the whole of it."""
    return any(len(text) < len(mark) and mark.startswith(text) for mark in marks)


def _end_of_certain(text: str, marks: Sequence[str]) -> int:
    """Return where the end of `text` may be the beginning of one of `marks`."""
    longest = max(map(len, marks)) - 1
    for start in range(max(0, len(text) - longest), len(text)):
        if _is_beginning(text[start:], marks):
            return start
    return len(text)


def _without_last(text: str, end: int, marks: Sequence[str]) -> int:
    """Return the end of `text[:end]` without `marks` at its end, and white space around them."""
    cut, at = end, end
    while True:
        while at > 0 and text[at - 1].isspace():
            at -= 1
        mark = next((each for each in marks if text.endswith(each, 0, at)), None)
        if mark is None:
            return cut if cut == end else at
        cut = at = at - len(mark)


def _behind_thoughts(text: str, is_last: bool) -> int | None:
    """Return where the text behind a mark begins that ends thoughts; None if there is none.

    In a line of words such a mark is a part of them.
    """
    for found in _END_OF_THOUGHTS.finditer(text):
        before, behind = found.start(), found.end()
        while before > 0 and text[before - 1] == " ":
            before -= 1
        while behind < len(text) and text[behind] == " ":
            behind += 1
        if behind == len(text):
            is_end = is_last
        else:
            is_end = "\n" in (text[behind], text[max(0, before - 1) : before])
        if is_end:
            return found.end()
    return None
