# The name of a function without what differs between two builds: the hashes of rustc's two manglings, and what LLVM
# appends to tell copies apart.
function plain(name) {
    sub(/\.(llvm\.)?[0-9]+$/, "", name)
    sub(/17h[0-9a-f]+E$/, "", name)
    if (name ~ /^_R/) gsub(/Cs[0-9A-Za-z]+_/, "C", name)
    return name
}
