# One process that computes: the primes below 10000.
BEGIN {
    for (i = 2; i < 10000; i++) {
        if (i in composite) continue
        count++
        for (j = i * i; j < 10000; j += i) composite[j] = 1
    }
    print count " primes below 10000"
    # There is no second process.
    if (system("true") != 0) print "denied: start another program"
}
