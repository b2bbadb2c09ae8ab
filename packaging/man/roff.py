#!/usr/bin/env python3
"""A page of doc/ as a man page: roff.py NAME SECTION "WHAT IT IS" DATE VERSION <page.md >page. Headings, paragraphs, lists, tables
and blocks of code, as doc/ uses them; links to other pages become their text."""
import re
import sys
import textwrap


def text(s):
    """A line of Markdown as roff: code and strong in bold, emphasis in italics."""
    s = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", s)
    parts = re.split(r"(`[^`]*`)", s)
    out = []
    for p in parts:
        if p.startswith("`") and len(p) > 1:
            out.append(r"\fB" + plain(p[1:-1]) + r"\fP")
        else:
            p = re.sub(r"\*\*([^*]+)\*\*", "\1B\\1\2", p)
            p = re.sub(r"(?<![\w*])\*([^*\s][^*]*)\*(?![\w*])", "\1I\\1\2", p)
            out.append(re.sub("\1(.)", r"\\f\1", plain(p)).replace("\2", r"\fP"))
    return "".join(out)


def plain(s):
    for a, b in (("\\", r"\e"), ("-", r"\-"), ("'", r"\(aq"), ("^", r"\(ha"), ("~", r"\(ti"), ("`", r"\(ga"), ("\"", r"\(dq"), ("…", "..."), ("→", "->"), ("×", "x"),
                 ("≤", "<="), ("≥", ">="), ("½", "1/2"), ("¼", "1/4"), ("–", r"\-"), ("—", r"\(em"), ("²", "2")):
        s = s.replace(a, b)
    return re.sub(r"[^\x00-\x7f]", lambda m: rf"\[u{ord(m.group()):04X}]", s)


def filled(s):
    """Words over lines of less than 100 columns, none of which roff would take for a request."""
    words = text(" ".join(s.split()))
    lines = textwrap.wrap(words, 100, break_long_words=False, break_on_hyphens=False)
    return "\n".join(r"\&" + x if x.startswith((".", "'")) else x for x in lines)


def cells(row):
    return [c.strip().replace(r"\|", "|") for c in re.split(r"(?<!\\)\|", row.strip().strip("|"))]


def table(rows):
    head = cells(rows[0])
    for row in rows[2:]:
        tag, *rest = cells(row)
        said = [f"{h}: {c}" if h and len(head) > 2 and i < len(rest) - 1 else c for i, (h, c) in enumerate(zip(head[1:], rest)) if c]
        yield ".TP\n" + (filled(tag).replace("\n", " ") or r"\&") + "\n" + (filled(". ".join(said)) or r"\&")
    yield ".PP"


def blocks(lines):
    """What belongs together: a list of lines without the empty ones between."""
    block, fence = [], False
    for line in lines:
        if line.startswith("```"):
            fence = not fence
            block.append(line)
            if not fence:
                yield block
                block = []
        elif fence:
            block.append(line)
        elif not line.strip() or line.startswith("#"):
            if block:
                yield block
            if line.strip():
                yield [line]
            block = []
        elif block and re.match(r"(- |\d+\. )", line):
            yield block
            block = [line]
        else:
            block.append(line)
    if block:
        yield block


def block_roff(b):
    first = b[0]
    if first.startswith("```"):
        code = [plain(x) for x in b[1:-1]]
        return ".PP\n.RS 4\n.nf\n" + "\n".join(r"\&" + x if x.startswith((".", r"\(aq")) else x for x in code) + "\n.fi\n.RE"
    if first.startswith("## "):
        return ".SH \"" + text(first[3:].replace("`", "")).upper().replace(r"\(AQ", r"\(aq") + "\""
    if first.startswith("###"):
        return ".SS \"" + text(first.lstrip("# ").replace("`", "")) + "\""
    if first.startswith("|"):
        return "\n".join(table(b))
    if re.match(r"(- |\d+\. )", first):
        mark, rest = first.split(" ", 1)
        return ".IP " + (r"\(bu 3" if mark == "-" else mark + " 4") + "\n" + filled(" ".join([rest] + b[1:]))
    return ".PP\n" + filled(" ".join(b))


def main():
    name, section, what, date, version = sys.argv[1:]
    lines = sys.stdin.read().split("\n")
    print(f".\\\" made from weir's doc/ by roff.py\n.TH {name.upper()} {section} \"{date}\" \"weir {version}\" \"weir\"")
    print(f".SH NAME\n{plain(name)} \\- {plain(what)}\n.SH DESCRIPTION")
    out, before = [], ""
    for b in blocks(lines):
        if b[0].startswith("# "):
            continue
        r = block_roff(b)
        if before in (".SH", ".SS") and r.startswith(".PP\n"):  # a heading begins a paragraph itself
            r = r[4:]
        before = r[:3]
        out.append(r)
    body = re.sub(r"\n\.PP(?=\n\.(SH|SS|PP|TP|IP)|$)", "", "\n".join(out))
    if body.startswith(".PP\n"):
        body = body[4:]
    print(body)
    print(".SH \"SEE ALSO\"\n.BR weir (1),\n.BR weir.lua (5),\n.BR weir\\-policies (7)")


main()
