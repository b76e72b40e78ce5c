r"""One paper's files to one text: inputs joined, macros expanded, conditionals decided, in the order that TeX reads in.

The text is a list of pieces. What is between two marks is for `latex.py` to keep or cut.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from curation.errors import DataError
from curation.sources.latex_comments import LATEX, Environments, environment_name, verb_end
from curation.sources.latex_macros import (
    COMMAND,
    DEFINING,
    PROTECTED,
    Definition,
    blanks,
    bracket_end,
    definition,
    expansion,
    group_end,
    paid,
)
from curation.sources.latex_stream import Frame, Piece, Stream

HEADINGS = {
    name: level
    for level, name in enumerate(
        (r"\part", r"\chapter", r"\section", r"\subsection", r"\subsubsection", r"\paragraph", r"\subparagraph")
    )
}
_OPENS_TITLE = re.compile(r"\*?[ \t]*+\n?[ \t]*+[\[{]")

# What is read of a file that \input names; pictures and bibliographies are not.
_UNREAD = tuple(".bbl .bib .pgf .tikz .pdf_tex .pstex_t .pstex .eps_tex .eepic .eps .ps .pdf".split())  # noqa: SIM905
_PLAIN_NAME = re.compile(r"[ \t]*([^\s{}\\%]+)")
_IN_BRACES = re.compile(r"[ \t]*+\n?[ \t]*+\{([^{}\n]{0,300})\}")
_WORD = re.compile(r"\\[a-zA-Z]+")

_PRIMITIVE_IFS = frozenset(
    r"""\if \ifcat \ifnum \ifdim \ifodd \ifvmode \ifhmode \ifmmode \ifinner \ifvoid \ifhbox \ifvbox \ifx \ifeof \iftrue
    \iffalse \ifcase \ifdefined \ifcsname \iffontchar \ifpdf \ifxetex \ifluatex \ifPDFTeX \ifXeTeX
    \ifLuaTeX""".split()  # noqa: SIM905
)
_CONDITIONAL = re.compile(r"\\(?:if[a-zA-Z@]*|else|fi|or)(?![a-zA-Z@])")
_NEW_IF = re.compile(r"\s*+\{?\s*+\\if([a-zA-Z@]+)(?:\s*+\})?")
_TAKES_BLANK = re.compile(r"[^\W_]|[(\[$`]|\\[a-zA-Z]")
_DOCUMENT = re.compile(r"\\begin\s*+\{document\}")


_Handler = Callable[["Expander", str, Frame], None]


@dataclass(slots=True, kw_only=True)
class Expander(Stream):
    """Reads a paper. `files` are texts without comments, by path; `name` of the main one goes to `run`."""

    files: Mapping[str, str]
    known: Environments = LATEX
    booleans: dict[str, bool] = field(default_factory=dict)
    _switches: dict[str, _Handler] = field(default_factory=dict)  # what \\newif defines: \\ifdraft, \\drafttrue …
    _ifs: list[bool] = field(default_factory=list)  # of each open conditional: is it one that we decided?
    _folder: str = ""  # of the main file
    _commands: int = 0
    _joined: int = 0

    def run(self, name: str) -> list[Piece]:
        """The pieces of the paper whose main file is `name`. Raises DataError(`macro_bomb`) at a limit."""
        self._folder = posixpath.dirname(name)
        self.open(name, self.files[name])
        while self.frames:
            self._read_on(self.frames[-1])
        self.mark("end", "")
        return self.pieces[:-1]

    def _read_on(self, frame: Frame) -> None:
        """Up to the next command that means something to us, and what it means; or to the end of the frame."""
        at = frame.at
        while match := COMMAND.search(frame.text, at):
            token, at = match.group(), match.end()
            if token in self.macros or token in _HANDLERS or token in self._switches:
                break
            if "@" in token[2:] and (word := token[: token.index("@")]) in self.macros:
                token, at = word, match.start() + len(word)
                break
        else:
            self.write(frame.text[frame.at :])
            self.frames.pop()
            return
        self.write(frame.text[frame.at : match.start()])
        frame.at = at
        if (called := self.macros.get(token)) is not None:
            self.call(token, called)
            return
        self._commands += 1
        if self._commands > self.limits.commands:
            raise DataError("macro_bomb", f"more than {self.limits.commands} commands")
        (_HANDLERS.get(token) or self._switches[token])(self, token, frame)

    def _heading(self, token: str, frame: Frame) -> None:
        if _OPENS_TITLE.match(frame.text, frame.at):
            self.mark("heading", token)
        else:
            self.write(token)

    # Definitions

    def _define(self, command: str, frame: Frame) -> None:
        start = frame.at - len(command)
        found = definition(command, frame.text, frame.at, self.spend)
        if found is None:
            self.write(command)
            return
        frame.at = found.end
        if self._take(found):
            self.end_line(blanks_too=False)
        else:
            self.write(frame.text[start : found.end])

    def _take(self, found: Definition) -> bool:
        """Is the definition ours from here on? One that is not stays in the text, and so do its calls."""
        name, meaning = found.name, found.macro
        if name in PROTECTED:
            return False
        if meaning is None:
            self.macros.pop(name, None)
            return False
        if not meaning.again:
            target = str(meaning.pieces[0])
            if target in (r"\iftrue", r"\iffalse") and name.startswith(r"\if"):
                self._switch(name[3:], target == r"\iftrue")
                return True
            if target in (name, r"\fi", r"\else"):
                return False
            meaning = self.macros.get(target, meaning)
        elif found.only_if_new and (name in self.macros or name in HEADINGS):
            return True
        self.macros[name] = meaning
        return True

    def _style(self, token: str, frame: Frame) -> None:
        r"""`\usepackage{mymacros}`: of a package among the paper's files the definitions, and no text."""
        end = blanks(frame.text, frame.at)
        if frame.text.startswith("[", end):
            end = bracket_end(frame.text, end, self.spend)
        named = _IN_BRACES.match(frame.text, end) if end >= 0 else None
        self.write(token)
        for name in named[1].split(",") if named else ():
            path = self._find(f"{name.strip()}.sty", "")
            if path is None or self._joined >= self.limits.files:
                continue
            self._joined += 1
            text, at = self.files[path], 0
            while match := COMMAND.search(text, at):
                at = match.end()
                if match.group() in DEFINING and (found := definition(match.group(), text, at, self.spend)):
                    at = found.end
                    if "@" not in found.name and (found.macro is None or found.macro.again):
                        self._take(found)

    # Conditionals

    def _new_if(self, token: str, frame: Frame) -> None:
        if named := _NEW_IF.match(frame.text, frame.at):
            self._switch(named[1], self.booleans.get(named[1], False))
            frame.at = named.end()
        else:
            self.write(token)

    def _switch(self, name: str, value: bool) -> None:
        self.booleans[name] = value
        self._switches[rf"\if{name}"] = Expander._if
        self._switches[rf"\{name}true"] = self._switches[rf"\{name}false"] = Expander._set

    def _set(self, token: str, frame: Frame) -> None:
        name = token[1:].removesuffix("true") if token.endswith("true") else token[1:].removesuffix("false")
        self.booleans[name] = token.endswith("true")
        self.skip_blanks()

    def _if(self, token: str, frame: Frame) -> None:
        if token in (r"\iftrue", r"\iffalse"):
            true = token == r"\iftrue"
        elif token in _PRIMITIVE_IFS:
            self._ifs.append(False)
            self.write(token)
            return
        else:
            true = self.booleans[token[3:]]
        if true:
            self._ifs.append(True)
            self.skip_blanks()
            return
        reached = self._skip((r"\else", r"\fi"))
        if reached == "":
            self.write(token)
        elif reached == r"\else":
            self._ifs.append(True)

    def _else(self, token: str, frame: Frame) -> None:
        if self._ifs and self._ifs[-1]:
            self._ifs.pop()
            if self._skip((r"\fi",)) == "":
                self.write(token)
        else:
            self.write(token)

    def _fi(self, token: str, frame: Frame) -> None:
        if self._ifs and self._ifs.pop():
            self.end_line()
        else:
            self.write(token)

    def _skip(self, ends: tuple[str, ...]) -> str:
        """Leave out what stands before the first of `ends` outside inner conditionals; "" if none of them is there.

        A call's text may open what the file closes (`\\def\\hide{\\iffalse}`), so the search goes on behind the call.
        """
        depth = 0
        for index in range(len(self.frames) - 1, -1, -1):
            frame = self.frames[index]
            for match in paid(_CONDITIONAL, frame.text, frame.at, self.spend):
                name = match.group()
                if name == r"\fi" and depth:
                    depth -= 1
                elif name in ends and not depth:
                    self.spend(match.end() - frame.at)
                    del self.frames[index + 1 :]
                    frame.at = match.end()
                    self.end_line()
                    return name
                elif name in _PRIMITIVE_IFS or (name.startswith(r"\if") and name[3:] in self.booleans):
                    depth += 1
            self.spend(len(frame.text) - frame.at)
            if frame.file is not None:
                break
        return ""

    # Environments, files, and what is no text

    def _begin(self, token: str, frame: Frame) -> None:
        name, end = environment_name(frame.text, frame.at)
        if name in self.known.verbatim:
            close = frame.text.find(f"\\end{{{name}}}", end)
            if close >= 0:
                stop = close + len(name) + 6
                self.mark("verbatim", frame.text[frame.at - len(token) : stop])
                frame.at = stop
                return
            self.spend(len(frame.text) - end)
        elif name == "document":
            self.mark("document", "")
            frame.at = end
            return
        elif name in ("thebibliography", "references", "reflist", "chapthebibliography"):
            close = frame.text.find(f"\\end{{{name}}}", end)
            self.spend((close if close >= 0 else len(frame.text)) - end)
            frame.at = close + len(name) + 6 if close >= 0 else end
            self.mark("bibliography", "" if close >= 0 else "open")
            return
        elif name == "appendix" or name == "appendices":
            self.mark("appendix", "")
        self.write(token)

    def _end(self, token: str, frame: Frame) -> None:
        name, _ = environment_name(frame.text, frame.at)
        if name != "document":
            self.write(token)
            return
        self._end_file()

    def _end_file(self, token: str = "", frame: Frame | None = None) -> None:
        while self.frames and self.frames[-1].file is None:
            self.frames.pop()
        if self.frames:
            self.frames[-1].at = len(self.frames[-1].text)

    def _verb(self, token: str, frame: Frame) -> None:
        star = frame.text.startswith("*", frame.at)
        end = verb_end(token, frame.text, frame.at + star)
        if end < 0:
            self.write(token)
            return
        self.mark("verbatim", token + frame.text[frame.at : end])
        frame.at = end

    def _appendix(self, token: str, frame: Frame) -> None:
        self.mark("appendix", token)

    def _bibliography(self, token: str, frame: Frame) -> None:
        """A command that makes, or styles, the bibliography: it goes with its arguments."""
        at = blanks(frame.text, frame.at)
        if token == r"\printbibliography":
            end = bracket_end(frame.text, at, self.spend) if frame.text.startswith("[", at) else frame.at
        else:
            end = group_end(frame.text, at, self.spend) if frame.text.startswith("{", at) else -1
        if end < 0:
            self.write(token)
            return
        frame.at = end
        self.end_line(blanks_too=False)

    def _xspace(self, token: str, frame: Frame) -> None:
        """A blank, unless a mark that takes none follows (the package xspace)."""
        following = self.next_frame()
        if _TAKES_BLANK.match(following.text, following.at):
            self.write(" ")

    def _input(self, token: str, frame: Frame) -> None:
        if token in _TWO_NAMES:
            folder = _IN_BRACES.match(frame.text, frame.at)
            named = _IN_BRACES.match(frame.text, folder.end()) if folder else None
        else:
            folder = None
            named = _IN_BRACES.match(frame.text, frame.at)
            if named is None and token == r"\input":
                named = _PLAIN_NAME.match(frame.text, frame.at)
        if named is None:
            self.write(token)
            return
        frame.at = named.end()
        path = self._find(self._named(named[1]), self._named(folder[1]) if folder else "")
        if path is not None and all(path != other.file for other in self.frames):
            self._join(path)
        else:
            self.end_line(blanks_too=False)

    def _join(self, path: str) -> None:
        self._joined += 1
        if self._joined > self.limits.files:
            raise DataError("macro_bomb", f"more than {self.limits.files} files joined")
        text = self.files[path]
        self.spend(len(text))
        if begin := _DOCUMENT.search(text):  # a file that can stand alone
            text = text[begin.end() :]
        self.open(path, text.rstrip("\n"))

    def _named(self, name: str) -> str:
        def meaning(match: re.Match[str]) -> str:
            found = self.macros.get(match.group())
            return expansion(found, []) if found is not None and not found.arguments else match.group()

        return _WORD.sub(meaning, name).strip().strip('"')

    def _find(self, name: str, folder: str) -> str | None:
        """The file that a name means. Names are looked up among the paper's files, never opened."""
        if not name or name.endswith(_UNREAD):
            return None
        folders = [self._folder, ""]
        for frame in reversed(self.frames):
            if frame.file is not None:
                folders.append(posixpath.dirname(frame.file))
                break
        for place in folders:
            path = posixpath.normpath(posixpath.join(place, folder, name))
            for candidate in (path, f"{path}.tex"):
                if candidate in self.files:
                    return candidate
        return None


_TWO_NAMES = frozenset(
    {r"\import", r"\subimport", r"\includefrom", r"\inputfrom", r"\subincludefrom", r"\subinputfrom"}
)
_HANDLERS: dict[str, _Handler] = {
    **dict.fromkeys(DEFINING, Expander._define),
    **dict.fromkeys(HEADINGS, Expander._heading),
    **dict.fromkeys(_PRIMITIVE_IFS, Expander._if),
    r"\begin": Expander._begin,
    r"\end": Expander._end,
    r"\endinput": lambda self, token, frame: self._end_file(),
    r"\bye": lambda self, token, frame: self._end_file(),
    r"\appendix": Expander._appendix,
    r"\newif": Expander._new_if,
    r"\else": Expander._else,
    r"\fi": Expander._fi,
    r"\xspace": Expander._xspace,
    r"\usepackage": Expander._style,
    r"\RequirePackage": Expander._style,
    **dict.fromkeys((r"\verb", r"\Verb", r"\lstinline", r"\mintinline"), Expander._verb),
    **dict.fromkeys(
        (r"\input", r"\include", r"\subfile", r"\subfileinclude", r"\InputIfFileExists", *_TWO_NAMES), Expander._input
    ),
    **dict.fromkeys(
        (
            r"\bibliography",
            r"\bibliographystyle",
            r"\printbibliography",
            r"\nobibliography",
            r"\nocite",
            r"\bibliographyunit",
        ),
        Expander._bibliography,
    ),
}
