"""The description of the interface as one page of HTML: no script, no font, no picture from anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any

import msgspec

_STYLE = """
:root { color-scheme: light dark; --line: #8885; --soft: #8881; }
body { font: 16px/1.55 system-ui, "Noto Sans CJK SC", sans-serif; margin: 0 auto; max-width: 62rem; padding: 1.5rem; }
h1 { font-size: 1.6rem } h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line) } h3 { font-size: 1rem }
code, pre { font: 14px/1.45 ui-monospace, monospace } pre { background: var(--soft); padding: .8rem; overflow-x: auto }
details { border: 1px solid var(--line); border-radius: 6px; margin: .6rem 0; padding: .4rem .8rem }
summary { cursor: pointer } .method { display: inline-block; min-width: 3.5rem; font-weight: 700 }
table { border-collapse: collapse; width: 100% } td, th { border-bottom: 1px solid var(--line); padding: .25rem .5rem;
text-align: left; vertical-align: top } td:first-child { white-space: nowrap } .soft { opacity: .75 }
"""


def docs_page(description: dict[str, Any]) -> str:
    """The page of an OpenAPI description as ``openapi()`` makes it."""
    return "\n".join(_page(description))


def _page(description: dict[str, Any]) -> Iterator[str]:
    info = description["info"]
    yield '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{escape(info['title'])}</title><style>{_STYLE}</style></head><body>"
    yield f'<h1>{escape(info["title"])} <span class="soft">{escape(info["version"])}</span></h1>'
    yield f'<p>{_prose(info["description"])} <a href="openapi.json">openapi.json</a></p>'
    for tag in ("sign-in", "settlement", "service"):
        yield f"<h2>{tag.capitalize()}</h2>"
        for path, methods in description["paths"].items():
            for method, operation in methods.items():
                if tag in operation["tags"]:
                    yield from _operation(path, method, operation)
    yield "<h2>Messages</h2>"
    for name, schema in description["components"]["schemas"].items():
        yield from _schema(name, schema)
    yield "</body></html>"


def _operation(path: str, method: str, operation: dict[str, Any]) -> Iterator[str]:
    yield f'<details id="{escape(operation["operationId"])}"><summary><span class="method">{method.upper()}</span> '
    yield f"<code>{escape(path)}</code> {escape(operation['summary'])}</summary>"
    if "description" in operation:
        yield f"<p>{_prose(operation['description'])}</p>"
    if operation.get("security"):
        yield "<p>Headers: " + ", ".join(f"<code>{name}</code>" for name in operation["security"][0]) + "</p>"
    for parameter in operation.get("parameters", []):
        yield f"<p><code>{escape(parameter['name'])}</code> (in the {parameter['in']}): "
        yield f"{_prose(parameter['description'])}</p>"
    if "requestBody" in operation:
        yield from _content("Request", operation["requestBody"]["content"])
    for status, response in operation["responses"].items():
        yield f"<h3>{status}</h3>"
        yield _listing(response["description"])
        if status == "200":
            yield from _content("Answer", response.get("content", {}))
    yield "</details>"


def _content(title: str, content: dict[str, Any]) -> Iterator[str]:
    for media_type, body in content.items():
        reference = body["schema"].get("$ref", "").rpartition("/")[2]
        named = f'<a href="#{escape(reference)}">{escape(reference)}</a>' if reference else ""
        yield f"<p>{title}, <code>{media_type}</code> {named}</p>"
        if "example" in body:
            text = msgspec.json.format(msgspec.json.encode(body["example"]), indent=2).decode()
            yield f"<pre>{escape(text)}</pre>"


def _schema(name: str, schema: dict[str, Any]) -> Iterator[str]:
    yield f'<details id="{escape(name)}"><summary><code>{escape(name)}</code></summary>'
    yield f"<p>{_prose(schema.get('description', ''))}</p><table><tr><th>field</th><th>form</th><th></th></tr>"
    required = set(schema.get("required", []))
    for field, form in schema.get("properties", {}).items():
        need = "required" if field in required else "optional"
        yield f"<tr><td><code>{escape(field)}</code></td><td>{_form(form)}</td><td>{need}"
        yield f" {_prose(form.get('description', ''))}</td></tr>"
    yield "</table></details>"


def _form(form: dict[str, Any]) -> str:
    """A schema in one line: a type with its bounds, a link, or alternatives."""
    if "$ref" in form:
        name = escape(form["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    if "anyOf" in form:
        return " or ".join(_form(option) for option in form["anyOf"])
    if form.get("type") == "array":
        return f"list of {_form(form.get('items', {}))}{_bounds(form)}"
    if "enum" in form:
        return " · ".join(f"<code>{escape(str(value))}</code>" for value in form["enum"])
    return f"{escape(str(form.get('type', 'any')))}{_bounds(form)}"


def _bounds(form: dict[str, Any]) -> str:
    names = ("format", "pattern", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "default")
    said = [f"{name} <code>{escape(str(form[name]))}</code>" for name in names if form.get(name) is not None]
    return f" ({', '.join(said)})" if said else ""


def _listing(text: str) -> str:
    """Lines that begin with a hyphen as a list, anything else as a paragraph."""
    if not text.startswith("- "):
        return f"<p>{_prose(text)}</p>"
    return "<ul>" + "".join(f"<li>{_prose(line.removeprefix('- '))}</li>" for line in text.splitlines()) + "</ul>"


def _prose(text: str) -> str:
    """Escaped text with `code` between backticks and *stress* left as it is."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if place % 2 else part for place, part in enumerate(parts))
