#!/usr/bin/env python3
"""Checks that the copies of three apps, in three languages, for two customers, are apart: their logins, their data, what
they see of each other. It spawns the copies, prints each check and how many there were, destroys the copies, and exits
with 1 if a check has failed."""
import argparse, http.client, json, subprocess, sys
from concurrent.futures import ThreadPoolExecutor

arguments = argparse.ArgumentParser(description=__doc__)
arguments.add_argument("--port", type=int, default=8080, help="where `ten serve` listens on 127.0.0.1")
arguments.add_argument("--domain", default="localhost", help="its base domain")
arguments.add_argument("--service", action="append", help="one of the services; may be given again; default: all")
options = arguments.parse_args()

TENANTS = ("check-alice", "check-bob")
INSTANCES = [(service, tenant) for service in options.service or ("python", "node", "go") for tenant in TENANTS]
done, failed = 0, 0

def check(what, got, want):
    """One check: prints it, and counts it."""
    global done, failed
    done += 1
    failed += got != want
    print(f"{'ok  ' if got == want else 'FAIL'} {done:3}  {what}" + ("" if got == want else f": got {got!r}, want {want!r}"))

def ten(*args):
    """Runs a command of Tenement's, which has to succeed, and gives what it prints."""
    done = subprocess.run(("ten", *args), stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"ten {' '.join(args)}: exit code {done.returncode}")
    return done.stdout

def ask(host, method, path, token=None, body=None):
    """Makes a request and gives the status and the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", options.port, timeout=60)
    headers = {"Host": host} if token is None else {"Host": host, "Authorization": f"Bearer {token}"}
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        text = response.read()
    finally:
        connection.close()
    return response.status, json.loads(text) if response.headers["Content-Type"] == "application/json" else text

def host(instance):
    return f"{instance[1]}.{instance[0]}.{options.domain}"

def name(instance):
    return ":".join(instance)

def others(instance):
    """The instances of another customer's under the service, and of the customer's under other services."""
    return [other for other in INSTANCES if other != instance and (other[0] == instance[0]) != (other[1] == instance[1])]

def status(instance, *request):
    return ask(host(instance), *request)[0]

def check_login(operator):
    """Each copy has an owner of its own, and nobody else's token opens it."""
    tokens = {}
    for instance in INSTANCES:
        check(f"{name(instance)} answers its health check without a token", status(instance, "GET", "/health"), 200)
        check(f"{name(instance)} has no owner yet, and lets nobody in", status(instance, "GET", "/notes", ""), 401)
        code, answer = ask(host(instance), "POST", "/claim")
        check(f"{name(instance)} takes an owner", code, 201)
        tokens[instance] = answer.get("token")
        check(f"{name(instance)} takes no second one", status(instance, "POST", "/claim"), 409)
    check("all tokens are different", len(set(tokens.values())), len(INSTANCES))
    for instance in INSTANCES:
        token = tokens[instance]
        check(f"{name(instance)} lets its owner in", ask(host(instance), "GET", "/notes", token), (200, []))
        check(f"{name(instance)} sees Authorization as it was sent", ask(host(instance), "GET", "/authorization", token), (200, f"Bearer {token}"))
        check(f"{name(instance)} refuses who has no token", status(instance, "GET", "/notes"), 401)
        check(f"{name(instance)} refuses a wrong token", status(instance, "GET", "/notes", token[::-1]), 401)
        check(f"{name(instance)} refuses Tenement's own token", status(instance, "GET", "/notes", operator), 401)
        check(f"Tenement's API refuses the token of {name(instance)}", ask(options.domain, "GET", "/api/v1/instances", token)[0], 401)
        for other in others(instance):
            check(f"{name(instance)} refuses the token of {name(other)}", status(instance, "GET", "/notes", tokens[other]), 401)
    check("Tenement's API takes Tenement's token", ask(options.domain, "GET", "/api/v1/instances", operator)[0], 200)
    return tokens

def check_data(tokens):
    """Each copy has the notes of its owner, and no others."""
    for instance in INSTANCES:
        check(f"{name(instance)} takes a note", status(instance, "POST", "/notes", tokens[instance], f"for {name(instance)}"), 201)
        for other in others(instance):
            check(f"{name(instance)} takes no note of {name(other)}", status(instance, "POST", "/notes", tokens[other], "not mine"), 401)
    for instance in INSTANCES:
        check(f"{name(instance)} has that note alone", ask(host(instance), "GET", "/notes", tokens[instance]), (200, [f"for {name(instance)}"]))

def check_surroundings(tokens):
    """Each copy sees its own data and processes, and no others."""
    for instance in INSTANCES:
        code, seen = ask(host(instance), "GET", "/surroundings", tokens[instance])
        check(f"{name(instance)} tells what it sees", code, 200)
        check(f"{name(instance)} sees no other customer's data", seen.get("tenants"), [instance[1]])
        check(f"{name(instance)} sees no other service's data", seen.get("services"), [instance[0]])
        check(f"{name(instance)} sees no more processes than ten-init and itself", seen.get("processes"), 2)
    ports = {row["port"] for row in json.loads(ten("ps", "--json")) if row["id"] in map(name, INSTANCES)}
    check("each copy has a port of its own", len(ports), len(INSTANCES))

def check_sleep(tokens):
    """After sleep all is as it was, and who is woken at the same time as others is not mixed up with them."""
    ten("stop", *map(name, INSTANCES))
    with ThreadPoolExecutor(30) as pool:
        asked = [(i, pool.submit(ask, host(i), "GET", "/notes", tokens[i])) for _ in range(5) for i in INSTANCES]
        answers = [(instance, answer.result()) for instance, answer in asked]
    for instance in INSTANCES:
        got = [answer for asked, answer in answers if asked == instance]
        check(f"{name(instance)} has its note after sleep, for 5 who asked at once", got, [(200, [f"for {name(instance)}"])] * 5)
        for other in others(instance):
            check(f"{name(instance)} still refuses the token of {name(other)}", status(instance, "GET", "/notes", tokens[other]), 401)

def check_end(tokens):
    """Who is destroyed is gone, and nobody else."""
    gone, *rest = INSTANCES
    ten("destroy", "--yes", name(gone))
    check(f"{name(gone)} is gone", status(gone, "GET", "/notes", tokens[gone]), 404)
    for instance in rest:
        check(f"{name(instance)} is still there", ask(host(instance), "GET", "/notes", tokens[instance]), (200, [f"for {name(instance)}"]))

def clean_up():
    there = {row["id"] for row in json.loads(ten("ps", "--json"))} & set(map(name, INSTANCES))
    if there:
        ten("destroy", "--yes", *sorted(there))

clean_up()  # of a run that was interrupted
operator = json.loads(ten("token", "gen", "--description", "check.py", "--json"))
try:
    ten("spawn", *map(name, INSTANCES))
    tokens = check_login(operator["secret"])
    check_data(tokens)
    check_surroundings(tokens)
    check_sleep(tokens)
    check_end(tokens)
finally:
    clean_up()
    ten("token", "revoke", operator["id"])
print(f"{done} checks, {failed} failed")
sys.exit(failed > 0)
