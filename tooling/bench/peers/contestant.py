"""What every peer of the bench says and hears: one line of JSON when it is ready (or why it is not there), then one for each
line of input, which names a job."""

import json
import resource
import sys
import time


def say(value):
    print(json.dumps(value), flush=True)


def absent(reason):
    """Ends the process, saying why it is not there."""
    say({"unavailable": reason})
    sys.exit(0)


def serve(name, version, jobs, at_least=0):
    """Runs jobs, functions by name, when asked; short ones again and again for `at_least` seconds, whose mean counts."""
    say({"name": name, "version": version, "jobs": list(jobs)})
    for line in sys.stdin:
        job = jobs[line.strip()]
        start, runs = time.perf_counter(), 0
        while runs == 0 or time.perf_counter() - start < at_least:
            job()
            runs += 1
        milliseconds = 1000 * (time.perf_counter() - start) / runs
        say({"milliseconds": milliseconds, "peakBytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024})
