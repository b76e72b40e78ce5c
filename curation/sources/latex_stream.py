"""What is read and what is written while a paper is expanded: frames in, pieces out, and what both may cost."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from curation.errors import DataError
from curation.sources.latex_macros import COMMAND, Macro, blanks, bracket_end, ends_in_command, expansion, group_end

_ENDS_BLOCK = re.compile(r"\\(?:begin|end)\{[^{}]*\}(?:\[[^\[\]]*\])?\s*\Z")
_ALL_READ = re.compile(r"[ \t\n]*+\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one paper may cost. A book of 600 pages, full of macros, spends less than an eighth of each."""

    commands: int = 200_000  # that define, switch, join or head
    expansions: int = 200_000
    characters: int = 16 << 20  # of the text that comes out
    work: int = 64 << 20  # characters read again or put in, beyond the first reading
    depth: int = 200  # of calls within calls
    files: int = 2_000  # joined


LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of the text.

    `kind` is text; verbatim; or a mark: heading and appendix, whose `text` is the command; document, where it begins;
    bibliography, where one was left out, and "open" if it is not closed.
    """

    kind: str
    text: str


@dataclass(slots=True)
class Frame:
    """Something that is being read: a file, or what a call became."""

    text: str
    at: int = 0
    file: str | None = None


@dataclass(slots=True, kw_only=True)
class Stream:
    """The frames that are being read, innermost last, and the pieces that were written."""

    limits: Limits = LIMITS
    macros: dict[str, Macro] = field(default_factory=dict)
    pieces: list[Piece] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)
    line_is_blank: bool = True  # the line that is being written
    _text: list[str] = field(default_factory=list)  # since the last mark
    _spent: int = 0
    _expansions: int = 0
    _length: int = 0

    # What comes out

    def write(self, text: str) -> None:
        if not text:
            return
        if self._text and text[0].isalpha() and ends_in_command(self._text[-1]):
            text = " " + text
        self._length += len(text)
        if self._length > self.limits.characters:
            raise DataError("macro_bomb", f"more than {self.limits.characters} characters")
        self._text.append(text)
        line = text.rpartition("\n")
        self.line_is_blank = (self.line_is_blank or bool(line[1])) and not line[2].strip(" \t")

    def mark(self, kind: str, text: str) -> None:
        self.line_is_blank = self.line_is_blank and kind not in ("heading", "verbatim")
        if self._text:
            self.pieces.append(Piece("text", "".join(self._text)))
            self._text = []
        self.pieces.append(Piece(kind, text))

    def spend(self, characters: int) -> None:
        self._spent += characters
        if self._spent > self.limits.work:
            raise DataError("macro_bomb", f"more than {self.limits.work} characters read again")

    # What goes in

    def open(self, name: str | None, text: str) -> None:
        if len(self.frames) >= self.limits.depth:
            raise DataError("macro_bomb", f"more than {self.limits.depth} calls within calls")
        self.frames.append(Frame(text, file=name))

    def call(self, name: str, called: Macro) -> None:
        self._expansions += 1
        if self._expansions > self.limits.expansions:
            raise DataError("macro_bomb", f"more than {self.limits.expansions} expansions")
        if not called.again:
            self.write(str(called.pieces[0]))
            return
        if called.arguments == 0:
            text = expansion(called, [])
            self._after_name(text)
        else:
            arguments, read = self._arguments(called)
            if arguments is None:
                self.write(name + "".join(read))
                return
            text = expansion(called, arguments)
        self.spend(len(text))
        while self.frames and self._at_end(self.frames[-1]):
            self.frames.pop()  # so that a call at the end of a call does not go deeper
        self.open(None, text)

    @staticmethod
    def _at_end(frame: Frame) -> bool:
        return frame.file is None and frame.at >= len(frame.text)

    def _after_name(self, text: str) -> None:
        r"""TeX skips blanks after a command, so authors write `\this\ ` or `\this{}` where they want one."""
        frame = self.frames[-1]
        if _ENDS_BLOCK.search(text[-80:]) or ends_in_command(text):
            return  # they say nothing there, and lines stay lines
        if frame.text.startswith("{}", frame.at):
            frame.at += 2
            return
        if frame.text.startswith("\\ ", frame.at) and text:
            frame.at += 1
            return
        frame.at = blanks(frame.text, frame.at)

    def _arguments(self, called: Macro) -> tuple[list[str] | None, list[str]]:
        """The arguments of a call, or None; and what was read as it was written, which then is put back."""
        arguments: list[str] = []
        read: list[str] = []
        if called.default is not None:
            frame = self.next_frame()
            start = blanks(frame.text, frame.at)
            end = bracket_end(frame.text, start, self.spend) if frame.text.startswith("[", start) else -1
            arguments.append(frame.text[start + 1 : end - 1] if end >= 0 else called.default)
            if end >= 0:
                read.append(frame.text[start:end])
                frame.at = end
        while len(arguments) < called.arguments:
            frame = self.next_frame()
            start = blanks(frame.text, frame.at)
            first = frame.text[start : start + 1]
            if first == "{":
                end = group_end(frame.text, start, self.spend)
                argument = frame.text[start + 1 : end - 1]
            elif first == "\\" and (command := COMMAND.match(frame.text, start)):
                end, argument = command.end(), command.group()
            else:
                end, argument = (start + 1, first) if first not in ("", "}", "\n") else (-1, "")
            if end < 0:
                return None, read
            arguments.append(argument)
            read.append(frame.text[start:end])
            frame.at = end
        return arguments, read

    def next_frame(self) -> Frame:
        """The frame in which the next character stands. What a call became may ask for arguments behind the call."""
        while self.frames[-1].file is None and len(self.frames) > 1:
            frame = self.frames[-1]
            if not _ALL_READ.match(frame.text, frame.at):
                break
            self.frames.pop()
        return self.frames[-1]

    def skip_blanks(self) -> None:
        self.frames[-1].at = blanks(self.frames[-1].text, self.frames[-1].at)

    def end_line(self, blanks_too: bool = True) -> None:
        """Behind what left nothing: its line goes, if nothing else stands on it, else blanks, as TeX skips them."""
        frame = self.frames[-1]
        if frame.text.startswith("\n", frame.at) and self.line_is_blank:
            frame.at += 1
        elif blanks_too:
            self.skip_blanks()
