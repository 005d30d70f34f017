"""argparse as the commands want it: an error is one sentence that says what to do, and nothing is guessed."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from helpers import wording
from helpers.batch.paths import CannotScore
from helpers.export.errors import ArtifactError
from helpers.serving.golden import CannotGate
from helpers.serving.serve_command import CannotServe

ALSO_CALLED = {  # what is called otherwise by another command, or by other tools
    "--to": ("--model",),
    "--name": ("--model", "--to"),
    "--model": ("--to",),
    "--output": ("--to", "--model", "--report"),
    "--target": ("--label",),
    "--table": ("--data", "--like"),
    "--file": ("--data",),
    "--exclude": ("--drop",),
    "--type": ("--as",),
    "--columns": ("--features",),
    "--bind": ("--host",),
    "--key": ("--api-key-file",),
    "--api-key": ("--api-key-file",),
    "--version": ("--model",),
}
SENTENCES = (ArtifactError, CannotGate, CannotScore, CannotServe, OSError)


def saying(parse: Callable[[str], object]) -> Callable[[str], object]:
    """`parse` with its errors as argparse wants them."""

    def say(word: str):
        try:
            return parse(word)
        except SENTENCES as error:
            wrong(str(error))

    return say


def wrong(sentence: str) -> NoReturn:
    raise argparse.ArgumentTypeError(sentence)


def refuse(who: str, sentence: str) -> NoReturn:
    """End with exit code 2 and a sentence."""
    print(f"{who}: {sentence}", file=sys.stderr, flush=True)
    sys.exit(2)


class Parser(argparse.ArgumentParser):
    """argparse, but an error is one sentence without the usage, and no option is guessed from its first letters."""

    hands_on = False  # whether what it does not know belongs to another program
    hands_on_rest = False  # whether what follows `--` does, as the list `.rest`
    check: Callable[[argparse.Namespace], None] | None = None  # what concerns more than one option

    def __init__(self, command: str):
        super().__init__(f"python3 tutorial.py {command}", allow_abbrev=False)
        self.command = command
        self.names: list[str] = ["--help"]

    def option(self, name: str, type: Callable | None = None, **settings) -> None:
        self.add_argument(name, **settings, **({"type": saying(type)} if type else {}))
        self.names += [name] if name.startswith("-") else []

    def error(self, message: str) -> NoReturn:
        refuse(self.command, self._in_words(message.removeprefix("argument ")))

    def _in_words(self, message: str) -> str:
        """What argparse says, with what to do about it."""
        if chosen := re.fullmatch(r"(.*): invalid choice: '(.*)' \(choose from (.*)\)", message, re.DOTALL):
            which, word, known = chosen[1], chosen[2], chosen[3].replace("'", "").split(", ")
            at = "" if which == "action" else f"{which}: "
            return f"{at}{word!r} is none of {', '.join(known)}{wording.meant(word, known)}"
        if message.endswith(": expected one argument"):
            return f"{message.partition(':')[0]} needs a value: see {self.prog} --help"
        if message.startswith("the following arguments are required: "):
            names = message.partition(": ")[2].split(", ")
            helps = {action.metavar: action.help for action in self._get_positional_actions()}
            return "it needs " + ", and ".join(f"{name}, {helps[name]}" for name in names)
        return message

    def read(self, options: list[str]) -> argparse.Namespace:
        if self.hands_on:
            if {"-h", "--help"} & set(options):
                self.print_help()
                self.exit()
            chosen = argparse.Namespace(options=options)
        else:
            rest = []
            if self.hands_on_rest and "--" in options:
                at = options.index("--")
                options, rest = options[:at], options[at + 1 :]
            for word in options:  # before what follows it is taken for something else
                if word.startswith("--") and word.partition("=")[0] not in (*self.names, "--"):
                    self.error(self._unknown(word))
            chosen, unknown = self.parse_known_args(options)
            if unknown:
                self.error(self._unknown(unknown[0], options))
            if self.hands_on_rest:
                chosen.rest = rest
        try:
            if self.check:
                self.check(chosen)
        except (argparse.ArgumentTypeError, *SENTENCES) as error:
            self.error(str(error))
        return chosen

    def _unknown(self, word: str, options: Sequence[str] = ()) -> str:
        if word.startswith("-"):
            name = word.partition("=")[0]
            other = next((each for each in ALSO_CALLED.get(name, ()) if each in self.names), "")
            meant = wording.meant(other or name, self.names)
            return f"there is no option {name}{meant}: the options are {', '.join(self.names)}"
        likely = ("--data", "--model") if Path(word).suffix else ("--model", "--data")
        names = [name for name in likely if name in self.names]
        for name, given, apart in zip(options, options[1:], options[2:], strict=False):
            action = self._option_string_actions.get(name)
            if apart == word and action and action.metavar == "A,B":
                together = wording.quoted(f"{given.rstrip(',')},{word}")
                return f"{word!r} stands apart: {name} takes names with commas and no blanks between, as in {together}"
        hint = f"did you mean {wording.line(names[0], word)}?" if names else f"see {self.prog} --help"
        return f"{word!r} is none of its options: {hint}"
