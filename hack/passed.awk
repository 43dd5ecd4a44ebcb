# Reads what test programs print, and prints `NAME::TEST` for each test that ran and passed.
#
#   awk -v name=NAME -f hack/passed.awk OUTPUT
#
# NAME is that of an end-to-end program, or the crate of a program of cargo's. In the output of
# `cargo test` the crate is the one of the last `Running unittests` line. A test that prints SKIP,
# which libtest shows with --show-output, has not run. In the output of the test host each program has
# a heading, where settings may stand before it; `v2` is that of gl-cgroup.

/^ *Running unittests / {
    flush()
    name = $NF
    sub(/.*\//, "", name)
    sub(/-[0-9a-f]*\)$/, "", name)
    gsub(/_/, "-", name)
}
/^ *Running / { flush() }
/^==> / {
    flush()
    word = 2
    while ($word ~ /^[A-Z_][A-Z0-9_]*=/) word++
    name = $word
    sub(/.*\//, "", name)
    if (name == "v2") name = "gl-cgroup"
}
# The end-to-end programs' form.
/^ok [a-z0-9_]+( |$)/ { passed[$2] = 1 }
# libtest's.
/^test .* \.\.\. ok$/ { passed[last($2)] = 1 }
/^---- .* stdout ----$/ { shown = last($2) }
/^SKIP / && shown != "" { delete passed[shown] }
/^(successes|failures):$/ { shown = "" }
END { flush() }

function last(path) {
    sub(/.*::/, "", path)
    return path
}

function flush(    test) {
    for (test in passed) if (name != "") print name "::" test
    delete passed
    shown = ""
}
