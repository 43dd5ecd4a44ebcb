# What was printed about each failure, from the output of test programs: the last lines before `FAIL NAME` of an
# end-to-end program, and libtest's section about a test that failed. `name` is that of the program.

function heard(text) { lines[count++] = text }

function told(title,    i) {
    print "---- " title
    for (i = count > 30 ? count - 30 : 0; i < count; i++) print substr(lines[i], 1, 600)
    count = 0
}

/^(successes|failures):$/ { end_section(); failures = $0 == "failures:"; next }
failures && /^---- .* stdout ----$/ { end_section(); section = name " " $2; next }
/^test result: / { end_section(); failures = 0; next }
/^(ok|SKIP) / { count = 0; next }
/^FAIL / { told(name "::" $2); next }
{ heard($0) }

function end_section() {
    if (section != "") told(section)
    section = ""
    count = 0
}
