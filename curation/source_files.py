"""Files of source code by their names: which language, and what is none of its authors' writing."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Comments:
    """How a language writes comments: what begins one to the end of the line, and what stands around a block."""

    line: tuple[str, ...] = ()
    block: tuple[tuple[str, str], ...] = ()


_C = Comments(("//",), (("/*", "*/"),))
_HASH = Comments(("#",))
_XML = Comments((), (("<!--", "-->"),))
_DASH = Comments(("--",))
_PERCENT = Comments(("%",))
_SEMICOLON = Comments((";",))
_ML = Comments((), (("(*", "*)"),))

# Language: its comments, and the suffixes of its files. Markup that people write is here, data and settings are not.
_LANGUAGES: dict[str, tuple[Comments, str]] = {
    "Ada": (_DASH, "adb ads"),
    "Assembly": (Comments((";", "#", "//", "@"), (("/*", "*/"),)), "asm nasm s"),
    "Batch": (Comments(("rem ", "REM ", "Rem ", "rem\n", "REM\n", "::", "@rem ", "@REM ")), "bat cmd"),
    "C": (_C, "c h"),
    "C#": (_C, "cs csx"),
    "C++": (_C, "c++ cc cpp cppm cxx h++ hh hpp hxx inl ipp ixx tcc tpp"),
    "Clojure": (_SEMICOLON, "clj cljc cljs"),
    "CMake": (Comments(("#",), (("#[[", "]]"),)), "cmake"),
    "COBOL": (Comments(("      *", "*>")), "cbl cob cpy"),
    "CoffeeScript": (Comments(("#",), (("###", "###"),)), "coffee"),
    "Common Lisp": (Comments((";",), (("#|", "|#"),)), "cl lisp lsp"),
    "Crystal": (_HASH, "cr"),
    "CSS": (_C, "css less sass scss"),
    "CUDA": (_C, "cu cuh"),
    "Cython": (_HASH, "pxd pxi pyx"),
    "D": (Comments(("//",), (("/*", "*/"), ("/+", "+/"))), "d di"),
    "Dart": (_C, "dart"),
    "Dockerfile": (_HASH, "dockerfile"),
    "Elixir": (_HASH, "ex exs"),
    "Elm": (Comments(("--",), (("{-", "-}"),)), "elm"),
    "Emacs Lisp": (_SEMICOLON, "el"),
    "Erlang": (_PERCENT, "erl hrl"),
    "F#": (Comments(("//",), (("(*", "*)"),)), "fs fsi fsx"),
    "Fortran": (Comments(("!", "C ", "c ", "* ", "C\t", "*", "C\n", "c\n")), "f f03 f08 f77 f90 f95 for fpp pyf"),
    "GLSL": (_C, "comp frag glsl hlsl vert wgsl"),
    "Go": (_C, "go"),
    "Gradle": (_C, "gradle"),
    "GraphQL": (_HASH, "graphql"),
    "Groovy": (_C, "groovy"),
    "Haskell": (Comments(("--",), (("{-", "-}"),)), "hs hsc lhs"),
    "HTML": (_XML, "htm html xhtml"),
    "Idris, Agda, Lean": (Comments(("--",), (("{-", "-}"), ("/-", "-/"))), "agda idr lean"),
    "Java": (_C, "java"),
    "JavaScript": (_C, "cjs es6 js jsx mjs"),
    "Julia": (Comments(("#",), (("#=", "=#"),)), "jl"),
    "Kotlin": (_C, "kt kts"),
    "Lua": (Comments(("--",), (("--[[", "]]"), ("--[=[", "]=]"))), "lua"),
    "Makefile": (_HASH, "mak makefile mk"),
    "Markdown": (_XML, "markdown md mdx"),
    "Metal, OpenCL": (_C, "metal opencl ocl"),
    "Nim": (Comments(("#",), (("#[", "]#"),)), "nim"),
    "Nix": (Comments(("#",), (("/*", "*/"),)), "nix"),
    "Objective-C, MATLAB": (Comments(("//", "%"), (("/*", "*/"),)), "m mm"),
    "OCaml": (_ML, "ml mli mll mly"),
    "Pascal": (Comments(("//",), (("{", "}"), ("(*", "*)"))), "dpr lpr pas pp"),
    "Perl": (_HASH, "perl pl pm pod t"),
    "PHP": (Comments(("//", "#"), (("/*", "*/"),)), "php php3 php4 php5 phtml"),
    "PowerShell": (Comments(("#",), (("<#", "#>"),)), "ps1 psd1 psm1"),
    "Prolog": (Comments(("%",), (("/*", "*/"),)), "plg pro prolog"),
    "Protocol Buffers": (_C, "proto thrift"),
    "Python": (_HASH, "py pyi pyw"),
    "R": (_HASH, "r rmd"),
    "Racket, Scheme": (Comments((";",), (("#|", "|#"),)), "rkt scm ss"),
    "reStructuredText": (Comments(), "rst"),
    "Ruby": (Comments(("#",), (("=begin", "=end"),)), "gemspec rake rb"),
    "Rust": (_C, "rs"),
    "Scala": (_C, "sbt sc scala"),
    "Shell": (_HASH, "bash command csh fish ksh sh zsh"),
    "Solidity": (_C, "sol"),
    "SQL": (Comments(("--", "#"), (("/*", "*/"),)), "ddl sql"),
    "Standard ML": (_ML, "sig sml"),
    "Starlark": (_HASH, "build bzl"),
    "Svelte, Vue": (_XML, "astro svelte vue"),
    "Swift": (_C, "swift"),
    "Tcl": (_HASH, "tcl"),
    "Terraform": (Comments(("#", "//"), (("/*", "*/"),)), "hcl tf"),
    "TeX": (_PERCENT, "cls dtx ins sty tex"),
    "TypeScript": (_C, "cts mts ts tsx"),
    "V, Verilog, Coq": (Comments(("//",), (("/*", "*/"), ("(*", "*)"))), "v"),
    "Vala": (_C, "vala vapi"),
    "Verilog": (_C, "sv svh vh"),
    "VHDL": (_DASH, "vhd vhdl"),
    "Vim script": (Comments(('"',)), "vim"),
    "Visual Basic": (Comments(("'",)), "bas vb vbs"),
    "XSLT": (_XML, "xsl xslt"),
    "Zig": (_C, "zig"),
}
COMMENTS = {suffix: comments for comments, suffixes in _LANGUAGES.values() for suffix in suffixes.split()}

# Files without suffix that are known by their whole name.
_NAMED = {
    "dockerfile": "dockerfile",
    "containerfile": "dockerfile",
    "makefile": "makefile",
    "gnumakefile": "makefile",
    "kbuild": "makefile",
    "cmakelists.txt": "cmake",
    "rakefile": "rb",
    "gemfile": "rb",
    "vagrantfile": "rb",
    "podfile": "rb",
    "sconstruct": "py",
    "build.bazel": "bzl",
    "workspace": "bzl",
    "readme": "md",
}

# Names that are never text, so that they need not be read.
_BINARY_SUFFIXES = """
    7z a aac apk ar arrow avi avif bin blend bmp bz2 class db dcm deb dll dmg doc docx dylib ear egg eot exe fbx feather
    flac flv gif glb gz gzip h5 hdf5 heic icns ico iso jar jpeg jpg ko lib lz4 lzma mat mdb mid mkv mo mov mp3 mp4 mpeg
    msi nc npy npz o obj odt ogg onnx orc otf parquet pcap pdf pickle pkl png ppt pptx psd pt pth ptl pyc pyd pyo rar
    rdb rlib rpm so sqlite sqlite3 swf tar tgz tif tiff tflite ttc ttf vsd wasm wav webm webp whl woff woff2 xls xlsx xz
    z zip zst
"""

_VENDORED_FOLDERS = """
    .bundle .eggs .tox .venv 3rd_party 3rdparty _vendor _vendored bower_components carthage deps dist-packages extern
    externals godeps jspm_packages node_modules pods site-packages third-party third_party thirdparty vendor
    vendored vendors venv virtualenv
"""
_FIXTURE_FOLDERS = """
    __fixtures__ __mocks__ __snapshots__ fixture fixtures golden goldens snapshots test_data test-data testdata
"""
BINARY_SUFFIXES = frozenset(_BINARY_SUFFIXES.split())
_VENDORED = frozenset(_VENDORED_FOLDERS.split())
_FIXTURES = frozenset(_FIXTURE_FOLDERS.split())
_GENERATED = re.compile(
    r"_pb2(?:_grpc)?\.pyi?$|_grpc_pb\.js$|[._]pb\.(?:go|h|cc|c|cpp|hpp|rb|js|d\.ts|swift|dart)$|\.g(?:enerated|en)?\.[a-z]{1,4}$"
    r"|[._-]min\.(?:m?js|css)$|\.(?:bundle|chunk)\.(?:js|css)$|\.designer\.(?:cs|vb)$|^moc_\w+\.cpp$|\.(?:js|css)\.map$|\.snap$"
    r"|^(?:package-lock|npm-shrinkwrap)\.json$|^(?:pnpm-lock\.yaml|go\.sum|bun\.lockb)$|\.lock$",
    re.IGNORECASE,
)


def suffix(path: str) -> str:
    """By which the language of a file is known, lower case and without the dot: "py" for `a/b.py`; "" for none."""
    name = path.rpartition("/")[2].lower()
    if name in _NAMED:
        return _NAMED[name]
    stem, dot, end = name.rpartition(".")
    return end if dot and stem else ""


def vendored(path: str) -> str:
    """The folder of a path in which others' code is kept; "" if it is in none."""
    return next((part for part in path.split("/")[:-1] if part.lower() in _VENDORED), "")


def fixture(path: str) -> str:
    """The folder of a path in which what tests compare with is kept; "" if it is in none."""
    return next((part for part in path.split("/")[:-1] if part.lower() in _FIXTURES), "")


def is_generated(path: str) -> bool:
    """Does the name say that a program wrote it: a lock file, a minified script, a compiled protocol?"""
    return bool(_GENERATED.search(path.rpartition("/")[2]))
