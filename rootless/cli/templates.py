"""The part of Go's text/template that ``--format`` strings use.

Field paths, variables, pipelines, parentheses, comments, trim markers, ``if``, ``range``,
``with`` (and ``else``), ``break``, ``continue``, Go's comparison and printing functions, and
Docker's ``json``, ``join``, ``split``, ``title``, ``lower``, ``upper``, ``pad``, ``truncate``.

A callable in the data is a method. Faults raise ``InvalidArgument``. See ``govalues`` for the rest.
"""

from __future__ import annotations

from rootless.cli.govalues import FUNCTIONS, MISSING, Map, fault, show, truth, type_name
from rootless.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    Node = tuple[Any, ...]


class _Break(Exception):
    """``{{break}}``."""


class _Continue(Exception):
    """``{{continue}}``."""


class Template:
    """A parsed template."""

    def __init__(self, text: str) -> None:
        self._root = _Parser(text).parse()

    def render(self, data: Any, functions: Mapping[str, Callable[..., Any]] | None = None) -> str:
        """Execute the template over ``data``; ``functions`` replace those of the same name."""
        out: list[str] = []
        run = _Run(data, {**FUNCTIONS, **(functions or {})}, out)
        try:
            run.block(self._root, data)
        except (_Break, _Continue):
            raise fault("break or continue outside of range") from None
        except RecursionError:
            raise fault("nested too deeply") from None
        return "".join(out)


# Parsing. Nodes: ("text", s), ("pipe", declared, commands), ("if"/"with"/"range", pipe, body, else),
# ("break",), ("continue",). Operands: ("field", [names]), ("var", name, [names]), ("dot",),
# ("value", v), ("call", name), ("paren", pipe, [names]).


def _pieces(text: str) -> Iterator[tuple[bool, str]]:
    """Yield (is action, content) with comments dropped and trim markers applied."""
    position, trim = 0, False
    while True:
        start = text.find("{{", position)
        plain = text[position:] if start < 0 else text[position:start]
        if trim:
            plain = plain.lstrip(" \t\r\n")
        if start < 0:
            yield False, plain
            return
        inside = start + 2
        if text[inside : inside + 1] == "-" and text[inside + 1 : inside + 2].isspace():
            plain = plain.rstrip(" \t\r\n")
            inside += 2
        yield False, plain
        if text[inside:].lstrip().startswith("/*"):
            end = text.find("*/", inside)
            if end < 0:
                raise fault("unclosed comment")
            end += 2
            while text[end : end + 1].isspace():
                end += 1
            trim = text.startswith("-}}", end)
            end += 1 if trim else 0
            if not text.startswith("}}", end):
                raise fault("comment ends before closing delimiter")
            position = end + 2
            continue
        end = _action_end(text, inside)
        content = text[inside:end]
        position = end + 2
        trim = content.endswith("-") and (len(content) == 1 or content[-2].isspace())
        yield True, content[:-1] if trim else content


def _action_end(text: str, position: int) -> int:
    quote = ""
    while position < len(text):
        char = text[position]
        if quote:
            if char == "\\" and quote != "`":
                position += 1
            elif char == quote:
                quote = ""
        elif char in "\"'`":
            quote = char
        elif text.startswith("}}", position):
            return position
        position += 1
    raise fault("unterminated quoted string" if quote else "unclosed action")


def _tokens(text: str) -> list[tuple[str, Any]]:
    tokens: list[tuple[str, Any]] = []
    position = 0
    while position < len(text):
        char = text[position]
        start = position
        if char.isspace():
            while position < len(text) and text[position].isspace():
                position += 1
            tokens.append(("space", " "))
        elif char in "()|,=":
            position += 1
            tokens.append((char, char))
        elif text.startswith(":=", position):
            position += 2
            tokens.append((":=", ":="))
        elif char in "\"'`":
            position += 1
            while text[position : position + 1] != char:
                if position >= len(text):
                    raise fault("unterminated quoted string")
                position += 2 if text[position] == "\\" and char != "`" else 1
            position += 1
            tokens.append(("value", _unquote(text[start:position])))
        elif char == "." and not text[position + 1 : position + 2].isdecimal():
            position = _word(text, position + 1)
            tokens.append(("field" if position > start + 1 else "dot", text[start + 1 : position]))
        elif char == "$":
            position = _word(text, position + 1)
            tokens.append(("var", text[start:position]))
        elif char.isalpha() or char == "_":
            position = _word(text, position)
            tokens.append(("word", text[start:position]))
        elif char.isdecimal() or char in "+-.":
            position += 1
            while position < len(text) and (text[position].isalnum() or text[position] in "._"):
                position += 1
            tokens.append(("value", _number(text[start:position])))
        else:
            raise fault(f"unexpected {char!r} in command")
    return tokens


def _word(text: str, position: int) -> int:
    while position < len(text) and (text[position].isalnum() or text[position] == "_"):
        position += 1
    return position


def _number(text: str) -> int | float:
    for kind in (lambda t: int(t, 0), float):
        try:
            return kind(text)
        except ValueError:
            pass
    raise fault(f'bad number syntax: "{text}"')


def _unquote(text: str) -> Any:
    body = text[1:-1]
    if text[0] == "`":
        return body
    if "\\" in body:
        simple = dict(zip("ntrabfv\\\"'", "\n\t\r\a\b\f\v\\\"'", strict=True))
        lengths = {"x": 2, "u": 4, "U": 8}
        out, position = [], 0
        while position < len(body):
            char = body[position]
            if char != "\\":
                out.append(char)
                position += 1
                continue
            escape = body[position + 1]
            if escape in simple:
                out.append(simple[escape])
                position += 2
            elif escape in lengths:
                digits = body[position + 2 : position + 2 + lengths[escape]]
                try:
                    out.append(chr(int(digits, 16)))
                except (ValueError, OverflowError):
                    raise fault(f"bad character escape in {text}") from None
                position += 2 + lengths[escape]
            else:
                raise fault(f"unknown escape in {text}")
        body = "".join(out)
    if text[0] == "'":
        if len(body) != 1:
            raise fault(f"malformed character constant: {text}")
        return ord(body)
    return body


class _Parser:
    def __init__(self, text: str) -> None:
        self._pieces = _pieces(text)

    def parse(self) -> list[Node]:
        body, ending = self._block()
        if ending is not None:
            raise fault(f"unexpected {{{{{ending[0]}}}}}")
        return body

    def _block(self) -> tuple[list[Node], tuple[str, Any] | None]:
        """Parse to the end, or to an ``else`` or ``end``, which is returned."""
        nodes: list[Node] = []
        for is_action, content in self._pieces:
            if not is_action:
                if content:
                    nodes.append(("text", content))
                continue
            tokens = _tokens(content)
            while tokens and tokens[0][0] == "space":
                tokens.pop(0)
            while tokens and tokens[-1][0] == "space":
                tokens.pop()
            if not tokens:
                raise fault("missing value for command")
            keyword = tokens[0][1] if tokens[0][0] == "word" else ""
            rest = tokens[2:] if len(tokens) > 1 and tokens[1][0] == "space" else tokens[1:]
            if keyword in ("if", "with", "range"):
                nodes.append(self._control(keyword, rest))
            elif keyword in ("else", "end"):
                return nodes, (keyword, rest)
            elif keyword in ("break", "continue"):
                nodes.append((keyword,))
            elif keyword in ("define", "template", "block"):
                raise fault(f"{{{{{keyword}}}}} is not supported")
            else:
                nodes.append(_pipeline(tokens))
        return nodes, None

    def _control(self, keyword: str, tokens: list[tuple[str, Any]]) -> Node:
        pipe = _pipeline(tokens, ranging=keyword == "range")
        body, ending = self._block()
        otherwise: list[Node] = []
        if ending is not None and ending[0] == "else":
            rest = ending[1]
            if rest:
                nested = rest[0][1]
                if rest[0][0] != "word" or nested not in ("if", "with") or keyword == "range":
                    raise fault("unexpected text after else")
                return (keyword, pipe, body, [self._control(nested, rest[2:])])
            otherwise, ending = self._block()
        if ending is None:
            raise fault("unexpected EOF")
        if ending[0] == "else":
            raise fault("expected end; found {{else}}")
        return (keyword, pipe, body, otherwise)


def _pipeline(tokens: list[tuple[str, Any]], *, ranging: bool = False) -> Node:
    declared, assign = [], ":="
    plain = [token for token in tokens if token[0] != "space"]
    if plain and plain[0][0] == "var":
        names = [plain[0][1]]
        following = 1
        if ranging and len(plain) > 2 and plain[1][0] == "," and plain[2][0] == "var":
            names.append(plain[2][1])
            following = 3
        if len(plain) > following and plain[following][0] in (":=", "="):
            declared, assign = names, plain[following][0]
            skipped = 0
            while tokens[skipped][0] not in (":=", "="):
                skipped += 1
            tokens = tokens[skipped + 1 :]
    commands, position = _commands(tokens, 0, closing=False)
    if position != len(tokens):
        raise fault("unexpected right paren")
    return ("pipe", declared, assign, commands)


def _commands(tokens: list[tuple[str, Any]], position: int, *, closing: bool) -> tuple[list[list[Node]], int]:
    commands: list[list[Node]] = [[]]
    spaced = True
    while position < len(tokens):
        kind, value = tokens[position]
        if kind == ")":
            if not closing:
                break
            position += 1
            closing = False
            break
        position += 1
        current = commands[-1]
        if kind == "space":
            spaced = True
            continue
        if kind == "|":
            if not current:
                raise fault("missing value for command")
            commands.append([])
            spaced = True
            continue
        if kind == "field" and not spaced:
            if not current or current[-1][0] not in ("field", "var", "paren", "dot"):
                raise fault(f"unexpected .{value}")
            current[-1][-1].append(value)
            continue
        if not spaced:
            raise fault(f"unexpected {value!r} in operand")
        spaced = False
        if kind == "(":
            inner, position = _commands(tokens, position, closing=True)
            current.append(("paren", ("pipe", [], ":=", inner), []))
        elif kind == "field":
            current.append(("field", [value]))
        elif kind == "dot":
            current.append(("dot", []))
        elif kind == "var":
            current.append(("var", value, []))
        elif kind == "value":
            current.append(("value", value))
        elif kind == "word":
            constants = {"true": True, "false": False, "nil": None}
            current.append(("value", constants[value]) if value in constants else ("call", value))
        else:
            raise fault(f"unexpected {value!r} in command")
    if closing:
        raise fault("unclosed left paren")
    if not commands[-1]:
        raise fault("missing value for command")
    for command in commands:
        for operand in command:
            if operand[0] == "call" and operand[1] not in FUNCTIONS:
                raise fault(f'function "{operand[1]}" not defined')
    return commands, position


class _Run:
    def __init__(self, data: Any, functions: Mapping[str, Callable[..., Any]], out: list[str]) -> None:
        self._functions = functions
        self._variables: list[tuple[str, Any]] = [("$", data)]
        self._out = out

    def block(self, nodes: list[Node], dot: Any) -> None:
        mark = len(self._variables)
        for node in nodes:
            kind = node[0]
            if kind == "text":
                self._out.append(node[1])
            elif kind == "pipe":
                value = self._pipe(node, dot)
                if not node[1]:
                    self._out.append(show(value, top=True))
            elif kind == "break":
                raise _Break
            elif kind == "continue":
                raise _Continue
            elif kind == "range":
                self._range(node, dot)
            else:
                inner = len(self._variables)
                value = self._pipe(node[1], dot)
                chosen = node[2] if truth(value) else node[3]
                self.block(chosen, value if kind == "with" and chosen is node[2] else dot)
                del self._variables[inner:]
        del self._variables[mark:]

    def _range(self, node: Node, dot: Any) -> None:
        _, pipe, body, otherwise = node
        mark = len(self._variables)
        value = self._pipe(("pipe", [], ":=", pipe[3]), dot)
        items: list[tuple[Any, Any]]
        if value is None or value is MISSING:
            items = []
        elif isinstance(value, dict):
            items = sorted(value.items()) if isinstance(value, Map) else list(value.items())
        elif isinstance(value, (list, tuple)):
            items = list(enumerate(value))
        elif isinstance(value, int) and not isinstance(value, bool):
            items = [(number, number) for number in range(value)]
        else:
            raise fault(f"range can't iterate over {show(value)}")
        if not items:
            self.block(otherwise, dot)
        for key, item in items:
            if len(pipe[1]) == 2:
                self._variables += [(pipe[1][0], key), (pipe[1][1], item)]
            elif pipe[1]:
                self._variables.append((pipe[1][0], item))
            try:
                self.block(body, item)
            except _Continue:
                pass
            except _Break:
                break
            finally:
                del self._variables[mark:]

    def _pipe(self, pipe: Node, dot: Any) -> Any:
        _, declared, assign, commands = pipe
        value: Any = None
        for index, command in enumerate(commands):
            value = self._command(command, dot, (value,) if index else ())
        for name in declared:
            if assign == ":=":
                self._variables.append((name, value))
                continue
            for slot in range(len(self._variables) - 1, -1, -1):
                if self._variables[slot][0] == name:
                    self._variables[slot] = (name, value)
                    break
            else:
                raise fault(f'undefined variable "{name}"')
        return value

    def _command(self, command: list[Node], dot: Any, final: tuple[Any, ...]) -> Any:
        head = command[0]
        if head[0] == "call":
            name = head[1]
            if name in ("and", "or"):
                return self._lazy(name, command[1:], dot, final)
            arguments = [self._operand(operand, dot) for operand in command[1:]]
            return _call(name, self._functions[name], [*arguments, *final])
        if head[0] == "field" or (head[0] in ("var", "paren", "dot") and head[-1]):
            arguments = [self._operand(operand, dot) for operand in command[1:]]
            return self._operand(head, dot, [*arguments, *final])
        if len(command) > 1 or final:
            raise fault(f"can't give argument to non-function {_source(head)}")
        return self._operand(head, dot)

    def _lazy(self, name: str, operands: list[Node], dot: Any, final: tuple[Any, ...]) -> Any:
        value: Any = None
        for operand in operands:
            value = self._operand(operand, dot)
            if truth(value) == (name == "or"):
                return value
        if not operands and not final:
            raise fault(f"wrong number of args for {name}: want at least 1 got 0")
        return final[0] if final else value

    def _operand(self, operand: Node, dot: Any, arguments: list[Any] | None = None) -> Any:
        kind = operand[0]
        if kind == "value":
            return operand[1]
        if kind == "call":
            return _call(operand[1], self._functions[operand[1]], [])
        value = dot
        if kind == "var":
            for name, content in reversed(self._variables):
                if name == operand[1]:
                    value = content
                    break
            else:
                raise fault(f'undefined variable "{operand[1]}"')
        elif kind == "paren":
            value = self._pipe(operand[1], dot)
        names = operand[-1]
        for index, name in enumerate(names):
            value = _field(value, name, (arguments or []) if index == len(names) - 1 else [])
        return value


def _field(value: Any, name: str, arguments: list[Any]) -> Any:
    if isinstance(value, dict):
        if name in value:
            found = value[name]
            if callable(found):
                return _call(name, found, arguments)
            if arguments:
                raise fault(f"{name} has arguments but cannot be invoked as function")
            return found
        if isinstance(value, Map):
            return MISSING
        known = ", ".join(key for key in value if isinstance(key, str))
        raise InvalidArgument(f"template parsing error: can't evaluate field {name}", hint=f"fields: {known}")
    if value is None or value is MISSING:
        raise fault(f"nil pointer evaluating field {name}")
    raise fault(f"can't evaluate field {name} in {type_name(value)}")


def _call(name: str, function: Callable[..., Any], arguments: list[Any]) -> Any:
    try:
        return function(*arguments)
    except InvalidArgument:
        raise
    except (TypeError, ValueError, IndexError, KeyError, AttributeError) as error:
        raise fault(f"error calling {name}: {error}") from error


def _source(operand: Node) -> str:
    return show(operand[1]) if operand[0] == "value" else f".{'.'.join(operand[-1])}"
