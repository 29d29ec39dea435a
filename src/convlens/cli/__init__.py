"""The command line: `convlens COMMAND`. Nothing heavy is imported before a command runs.

app.py            the application that commands are added to, and `--version`
commands/         a file for each command: its options and its public call
show/             what each command prints
options.py        options that several commands share
arguments.py      groups of options: those of all commands, those of all passes over photos
checks.py         values of options, checked before torch is imported
output_check.py   `--out`, `--draw` and `--overwrite`, checked then, too
class_words.py    names of classes, checked as far as no torch is needed
parsing.py        sizes, positions and lists of pixels
matrices.py       small matrices of numbers, and paddings
inputs.py         words of a command line as models, photos and folders
labels.py         the labels of photos: a CSV file, or the names of folders
dataset_pass.py   the steps before a pass and around it
patches_index.py  the index of the explore command
folders.py        the command line, the index and the numbers of a folder
tables.py         tables within the width of a terminal
terminal.py       results on standard output, progress on standard error
remarks.py        remarks that are shown when a command has ended
"""

import atexit
import codecs
import contextlib
import io
import os
import sys
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from convlens.cli.remarks import take_remarks
from convlens.runtime.garbage import collect_rarely
from convlens.runtime.threads import limit_spinning

_NO_MEMORY = ("allocate memory", "out of memory", "bad_alloc", "size calculation overflowed")


def main() -> None:
    """Run the command line. Bad input ends in one line on standard error and exit status 2."""
    limit_spinning()  # before a command imports torch
    if sys.stdout is None:  # before a file takes its descriptor
        _print_error("standard output is closed; send it to a file or to /dev/null")
        raise SystemExit(2)
    escape_what_cannot_be_shown()
    try:
        Path.cwd()  # without a working folder, libraries end the process in their own words
    except FileNotFoundError:
        _print_error("the working folder does not exist any more; change to another one")
        raise SystemExit(2) from None
    try:
        take_remarks()  # of an earlier command of this process
        status = _run_command()
        sys.stdout.flush()  # a full disk shows here
        for remark in take_remarks() if status == 0 else ():
            _print_error(remark)
    except OSError as error:
        _abandon(sys.stdout)
        where = f"{error.filename}" if error.filename is not None else "standard output"
        _print_error(f"cannot read or write {where} ({error.strerror or error})")
        status = 2
    except UnicodeEncodeError as error:  # such as a file name in the C locale
        _print_error(
            f"{error.object[error.start : error.end]!a} cannot be written in {error.encoding}, the "
            f"encoding of this environment; set PYTHONUTF8=1"
        )
        status = 2
    raise SystemExit(status)


def escape_what_cannot_be_shown() -> None:
    r"""Write characters that the encoding of an output lacks as \uXXXX, as JSON does."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and codecs.lookup(stream.encoding).name != "utf-8":
            codecs.register_error("convlens.json", _json_escapes)
            stream.reconfigure(errors="convlens.json")


def _json_escapes(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    import json

    return json.dumps(error.object[error.start : error.end])[1:-1], error.end


def run() -> None:
    """The command `convlens`: run the command line, and end the process.

    Python takes apart all modules and their objects when it ends, which is a sixth of the time of a
    command on one photo. What other libraries do at the end of a process is done, and what is in
    the buffers of both outputs is written; then the process ends at once.
    """
    collect_rarely()  # until the network is loaded
    status: object = 0
    try:
        main()
    except SystemExit as stop:
        status = stop.code
    if status is not None and not isinstance(status, int):
        raise SystemExit(status)  # a message, which Python prints
    threading._shutdown()  # type: ignore[attr-defined] # waits for threads, as Python does first
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(status or 0)


def _run_command() -> int:
    """Run the command that `sys.argv` names, and return the exit status."""
    import typer

    from convlens.cache.folder import disk_cache
    from convlens.cli import commands  # noqa: F401 # adds them to the app
    from convlens.cli.app import app
    from convlens.errors import ConvlensError, ConvlensWarning
    from convlens.runtime.allocator import keep_freed_memory

    keep_freed_memory()
    warnings.simplefilter("once", ConvlensWarning)
    warnings.showwarning = _show_warning
    # The base class of usage errors in click, or in the copy of click inside newer typers.
    usage_error: type[BaseException] = next(
        cls for cls in typer.BadParameter.__mro__ if cls.__name__ == "ClickException"
    )
    try:
        with disk_cache():
            return app(prog_name="convlens", standalone_mode=False) or 0
    except usage_error as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()  # type: ignore[attr-defined] # prints the help
        else:
            _print_error(_describe_usage_error(error))
    except SystemExit as stop:
        if isinstance(stop.__context__, BrokenPipeError):  # click would end without a word
            raise stop.__context__ from None
        raise
    except typer.Abort:
        print("Aborted.", file=sys.stderr)
        return 1
    except ConvlensError as error:
        # In a training with several processes all stop for one reason: the first one prints it.
        if os.environ.get("LOCAL_RANK", "0") == "0":
            _print_error(str(error))
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not any(
            words in str(error) for words in _NO_MEMORY
        ):
            raise
        _print_error(f"not enough memory; give a smaller size, or fewer images at once: {error}")
    return 2


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a warning about the network as one line, and others as Python does."""
    from convlens.errors import ConvlensWarning

    if issubclass(category, ConvlensWarning):
        _print_error(str(message))
    else:
        text = warnings.formatwarning(message, category, filename, lineno, line)
        print(text, end="", file=file or sys.stderr)


def _print_error(message: str) -> None:
    """Print one line on standard error, if that is possible."""
    from convlens.text import printable

    try:
        print(f"convlens: {printable(' '.join(message.split()))}", file=sys.stderr or sys.stdout)
    except OSError:
        _abandon(sys.stderr)


def _abandon(stream: Any) -> None:
    """Send what is left of a stream to nowhere, as Python would fail to write it at its end."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _describe_usage_error(error: Any) -> str:
    """What is wrong with the words of a command, and which help to read."""
    words = error.format_message().rstrip(".").replace("Value error, ", "")
    value = _find_option_value(getattr(getattr(error, "param", None), "opts", ()))
    if value is not None and value not in words:
        words = f"{words}, not {value!r}"
    context = getattr(error, "ctx", None)
    return f"{words}; see {context.command_path} --help" if context is not None else words


def _find_option_value(options: Sequence[str]) -> str | None:
    """The value that the command line gives for an option, by one of the option's names."""
    words, last_value = sys.argv[1:], None
    for number, word in enumerate(words):  # the last one counts
        name, has_value, value = word.partition("=")
        if name in options:
            last_value = value if has_value else next(iter(words[number + 1 :]), None)
    return last_value
