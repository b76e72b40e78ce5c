r"""What a paper's author defined: `\newcommand`, `\def` and their kin, and what a call of it becomes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

# A command (with @, as in packages) or an escaped character.
COMMAND = re.compile(r"\\(?:[a-zA-Z]+(?:@[a-zA-Z@]*)?|@[a-zA-Z@]+|.)", re.DOTALL)
_WORD_AT_END = re.compile(r"(?<!\\)(?:\\\\)*\\[a-zA-Z@]+\Z")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_BRACKET = re.compile(r"\\.|[{}\]]", re.DOTALL)
# At most one line end: an empty line ends a paragraph, and no argument goes over it.
_BLANKS = re.compile(r"[ \t]*+(?:\n[ \t]*+(?!\n))?")
BRACE = 64  # what a brace costs to read, in characters without one
_PARAMETER = re.compile(r"#([1-9#])")

# Commands of documents, which make up its structure. A new definition of one changes how it looks, not what it means.
PROTECTED = frozenset(
    r"""\begin \end \part \chapter \section \subsection \subsubsection \paragraph \subparagraph \appendix
    \documentclass \documentstyle \usepackage \RequirePackage \input \include \subfile \import
    \bibliography \bibliographystyle \printbibliography \thebibliography \endthebibliography \bibitem
    \newcommand \renewcommand \providecommand \def \let \newif \if \fi \else \iftrue \iffalse \endinput
    \verb \item \label \ref \cite \caption \footnote \includegraphics \title \author \date \maketitle
    \abstract \document \enddocument \par \\""".split()  # noqa: SIM905
)
# What a package writes in TeX's own language is not what an author abbreviates: such a call stays a call.
_PROGRAM = re.compile(
    r"\\[a-zA-Z]*@+[a-zA-Z]|\\(?:csname|expandafter|futurelet|catcode|edef|gdef|xdef|def|let|newcommand|renewcommand|"
    r"noexpand|afterassignment|advance|setbox|if(?!f\b|then)[a-zA-Z]*|else|fi|loop|read|write|immediate)(?![a-zA-Z])"
)


@dataclass(frozen=True, slots=True)
class Macro:
    """`pieces` are the body: text, and numbers of arguments. `default` is the first argument's, if that is optional."""

    arguments: int
    pieces: tuple[str | int, ...]
    default: str | None = None
    again: bool = True  # False: what it becomes is not read again (`\\let\\old\\emph`)


def macro(body: str, arguments: int, default: str | None = None) -> Macro | None:
    """A macro, or None where the body is a program, or asks for more than it has."""
    if _PROGRAM.search(body) and body not in (r"\iffalse", r"\iftrue"):
        return None
    pieces: list[str | int] = []
    at = 0
    text = ""
    for match in _PARAMETER.finditer(body):
        text += body[at : match.start()]
        at = match.end()
        if match[1] == "#":
            text += "#"
            continue
        if int(match[1]) > arguments:
            return None
        pieces += [text, int(match[1])]
        text = ""
    pieces.append(text + body[at:])
    return Macro(arguments, tuple(piece for piece in pieces if piece != ""), default)


def ends_in_command(text: str) -> bool:
    """Would a letter that follows become part of the text's last command?"""
    return _WORD_AT_END.search(text, max(0, len(text) - 80)) is not None


def join(left: str, right: str) -> str:
    """Both, with a blank between a command and a letter: they were two tokens."""
    return f"{left} {right}" if right[:1].isalpha() and ends_in_command(left) else left + right


def expansion(called: Macro, arguments: list[str]) -> str:
    """What a call becomes, once."""
    text = ""
    for piece in called.pieces:
        text = join(text, piece if isinstance(piece, str) else arguments[piece - 1])
    return text


def paid(pattern: re.Pattern[str], text: str, at: int, spend: Callable[[int], None]) -> Iterator[re.Match[str]]:
    """The matches from `at` on. For every 1,024 of them `spend` is told `BRACE` characters each."""
    for count, match in enumerate(pattern.finditer(text, at)):
        if count % 1024 == 1023:
            spend(1024 * BRACE)
        yield match


def group_end(text: str, at: int, spend: Callable[[int], None]) -> int:
    """Where the group ends whose brace stands at `at`: behind its closing brace. -1 if nowhere.

    `spend` is told how many characters were read; a brace counts for `BRACE` others.
    """
    depth = 0
    for match in paid(_BRACE, text, at, spend):
        brace = match.group()
        if brace == "{":
            depth += 1
        elif brace == "}":
            depth -= 1
            if not depth:
                spend(match.end() - at)
                return match.end()
    spend(len(text) - at)
    return -1


def bracket_end(text: str, at: int, spend: Callable[[int], None]) -> int:
    """The same for an optional argument in brackets; braces within it hide brackets."""
    depth = 0
    for match in paid(_BRACKET, text, at + 1, spend):
        mark = match.group()
        if mark == "{":
            depth += 1
        elif mark == "}":
            depth -= 1
            if depth < 0:
                break
        elif mark == "]" and not depth:
            spend(match.end() - at)
            return match.end()
    spend(match.end() - at if depth < 0 else len(text) - at)
    return -1


@dataclass(frozen=True, slots=True)
class Definition:
    """What one defining command says, and where it ends. `macro` is None where calls are to stay as they are."""

    name: str
    end: int
    macro: Macro | None
    only_if_new: bool = False


# Quantifiers of blanks are possessive: a million blanks must not take a million squared steps.
_SIGNATURE = re.compile(r"\[[ \t]*+([0-9])[ \t]*+\]")
_PLAIN_PARAMETERS = re.compile(r"(?:[ \t]*+#[1-9])*+[ \t]*+\n?[ \t]*+(?=\{)")
_ANY_PARAMETERS = re.compile(r"(?:\\.|[^{}\\]){0,100}+(?=\{)", re.DOTALL)
_SPECIFICATION = re.compile(r"[ \t]*+(?:O[ \t]*+\{([^{}]*)\})?[ \t]*+((?:m[ \t]*+){0,9})\Z")
_IN_BRACES = re.compile(r"\{[ \t\n]*+(\\(?:[a-zA-Z@]+|.))[ \t\n]*+\}", re.DOTALL)
_NAME = re.compile(r"\\(?:[a-zA-Z@]+|.)", re.DOTALL)
_EQUALS = re.compile(r"[ \t]*+=?[ \t]?")

LATEX = frozenset({r"\newcommand", r"\renewcommand", r"\providecommand", r"\DeclareRobustCommand", r"\newrobustcmd",
                   r"\renewrobustcmd", r"\providerobustcmd"})  # fmt: skip
XPARSE = frozenset(
    {r"\NewDocumentCommand", r"\RenewDocumentCommand", r"\ProvideDocumentCommand", r"\DeclareDocumentCommand"}
)
OPERATOR = r"\DeclareMathOperator"
DEFINING = LATEX | XPARSE | {OPERATOR, r"\def", r"\gdef", r"\edef", r"\xdef", r"\let"}


def definition(command: str, text: str, at: int, spend: Callable[[int], None]) -> Definition | None:
    """Read what follows a command of DEFINING, which ends at `at`. None if it defines nothing that we can read."""
    if command in LATEX or command in XPARSE or command == OPERATOR:
        star = text[at : at + 1] == "*"
        at = blanks(text, at + star)
        named = _IN_BRACES.match(text, at) or _NAME.match(text, at)
        if named is None:
            return None
        name = named[1] if named.re is _IN_BRACES else named[0]
        at = blanks(text, named.end())
        if command == OPERATOR:
            return _operator(name, star, text, at, spend)
        if command in XPARSE:
            return _xparse(command, name, text, at, spend)
        return _latex(command, name, text, at, spend)
    named = _NAME.match(text, blanks(text, at))
    if named is None:
        return None
    if command == r"\let":
        return _let(named[0], text, named.end())
    return _def(command, named[0], text, named.end(), spend)


def blanks(text: str, at: int) -> int:
    return _BLANKS.match(text, at).end()  # type: ignore[union-attr]  # it matches nothing, too


def _body(text: str, at: int, spend: Callable[[int], None]) -> tuple[str, int] | None:
    """A group or a single token, as the body of a definition."""
    at = blanks(text, at)
    if text[at : at + 1] == "{":
        end = group_end(text, at, spend)
        return (text[at + 1 : end - 1], end) if end >= 0 else None
    token = COMMAND.match(text, at)
    return (token[0], token.end()) if token else None


def _latex(command: str, name: str, text: str, at: int, spend: Callable[[int], None]) -> Definition | None:
    arguments, default = 0, None
    if signature := _SIGNATURE.match(text, at):
        arguments, at = int(signature[1]), blanks(text, signature.end())
        if arguments and text[at : at + 1] == "[":
            end = bracket_end(text, at, spend)
            if end < 0:
                return None
            default, at = text[at + 1 : end - 1], end
    body = _body(text, at, spend)
    if body is None:
        return None
    return Definition(name, body[1], macro(body[0], arguments, default), command.startswith(r"\provide"))


def _xparse(command: str, name: str, text: str, at: int, spend: Callable[[int], None]) -> Definition | None:
    specified = _body(text, at, spend)
    body = _body(text, specified[1], spend) if specified else None
    if specified is None or body is None:
        return None
    read = _SPECIFICATION.match(specified[0])
    new = command == r"\ProvideDocumentCommand"
    if read is None or (read[1] is not None and read[2].count("m") > 8):
        return Definition(name, body[1], None, new)
    return Definition(name, body[1], macro(body[0], read[2].count("m") + (read[1] is not None), read[1]), new)


def _operator(name: str, star: bool, text: str, at: int, spend: Callable[[int], None]) -> Definition | None:
    body = _body(text, at, spend)
    if body is None:
        return None
    written = rf"\operatorname{'*' if star else ''}{{{body[0]}}}"
    return Definition(name, body[1], Macro(0, (written,)))


def _def(command: str, name: str, text: str, at: int, spend: Callable[[int], None]) -> Definition | None:
    parameters = _PLAIN_PARAMETERS.match(text, at) or _ANY_PARAMETERS.match(text, at)
    if parameters is None:
        return None
    end = group_end(text, parameters.end(), spend)
    if end < 0:
        return None
    if parameters.re is _ANY_PARAMETERS or command in (r"\edef", r"\xdef"):
        return Definition(name, end, None)
    return Definition(name, end, macro(text[parameters.end() + 1 : end - 1], parameters[0].count("#")))


def _let(name: str, text: str, at: int) -> Definition | None:
    at = _EQUALS.match(text, at).end()  # type: ignore[union-attr]
    target = _NAME.match(text, at)
    if target is None:
        return Definition(name, at + 1, None) if at < len(text) else None
    return Definition(name, target.end(), Macro(0, (target[0],), again=False))
