# Reads a JSON file and says where things are in it, for hack/install.
#
# Prints `top END EMPTY`, `runtimes END EMPTY` and `greenlang PATH` for what the object in the file
# has: END is the count of bytes up to and with the opening brace, EMPTY 1 if nothing is between the
# braces, PATH the text of greenlang's "path". Fails, with a word on standard error, unless the file
# is one valid JSON object in which these are where they should be. LC_ALL must be C: bytes count.

function stop(why) {
    if (!failed) printf "%s at byte %d\n", why, pos | "cat >&2"
    failed = 1
    exit 1
}
function space() {
    while (substr(text, pos, 1) ~ /^[ \t\r\n]$/) pos++
}
function hex4(word) {
    return word ~ /^[0-9a-fA-F][0-9a-fA-F][0-9a-fA-F][0-9a-fA-F]$/
}
# The text of a string without its quotes, escapes left as they are.
function string(    start, c) {
    if (substr(text, pos, 1) != "\"") stop("a string is missing")
    start = ++pos
    for (;;) {
        c = substr(text, pos, 1)
        if (c == "" || c ~ /^[\001-\037]$/) stop("a string does not end")
        if (c == "\"") return substr(text, start, pos++ - start)
        if (c != "\\") { pos++; continue }
        c = substr(text, pos + 1, 1)
        if (c == "u" && hex4(substr(text, pos + 2, 4))) pos += 6
        else if (c ~ /^["\\\/bfnrt]$/) pos += 2
        else stop("an unknown escape")
    }
}
# A key that could be read as another one is refused where it would matter.
function check_key(key, depth, owner) {
    if (depth > 1 && !(depth == 2 && owner == "runtimes")) return
    if (key ~ /\\/) stop("an escape in a key")
    if (tolower(key) == "runtimes" && depth == 1 && key != "runtimes")
        stop("a key that differs from runtimes only in case")
    if (seen[depth, key]++) stop("a key twice")
}
function object(depth, owner, parent,    key, end, empty) {
    end = pos++
    space()
    empty = substr(text, pos, 1) == "}"
    if (depth == 1) found["top"] = end " " empty
    if (depth == 2 && owner == "runtimes") found["runtimes"] = end " " empty
    if (empty) { pos++; return }
    for (;;) {
        space()
        key = string()
        check_key(key, depth, owner)
        space()
        if (substr(text, pos++, 1) != ":") stop("a colon is missing")
        space()
        if (depth == 1 && key == "runtimes" && substr(text, pos, 1) != "{")
            stop("runtimes is not an object")
        if (depth == 2 && owner == "runtimes" && key == "greenlang") registered = 1
        if (depth == 3 && parent == "runtimes" && owner == "greenlang" && key == "path")
            path = substr(text, pos)
        value(depth, key, owner)
        space()
        key = substr(text, pos++, 1)
        if (key == "}") return
        if (key != ",") stop("a comma is missing")
    }
}
function array(depth, key, owner) {
    pos++
    space()
    if (substr(text, pos, 1) == "]") { pos++; return }
    for (;;) {
        space()
        value(depth + 1, "", "")
        space()
        key = substr(text, pos++, 1)
        if (key == "]") return
        if (key != ",") stop("a comma is missing")
    }
}
function value(depth, key, owner,    c, rest) {
    if (depth > 64) stop("nesting deeper than 64")
    c = substr(text, pos, 1)
    rest = substr(text, pos, 400)
    if (c == "{") object(depth + 1, key, owner)
    else if (c == "[") array(depth + 1)
    else if (c == "\"") string()
    else if (match(rest, /^(true|false|null)/)) pos += RLENGTH
    else if (match(rest, /^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?/)) pos += RLENGTH
    else stop("a value is missing")
}
{ text = text $0 "\n" }
END {
    if (failed) exit 1
    pos = 1
    space()
    if (substr(text, pos, 1) != "{") stop("no object")
    value(0, "", "")
    space()
    if (pos <= length(text)) stop("text after the end")
    for (name in found) print name, found[name]
    if (registered) {
        if (!match(path, /^"[^"\\]*"/)) stop("runtimes.greenlang has no plain path")
        print "greenlang", substr(path, 2, RLENGTH - 2)
    }
}
