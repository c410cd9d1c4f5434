"""A fixed job of small objects: records are built, indexed, sorted, written as JSON and read back.

Run it with PYTHONMALLOC=malloc, else Python's own pools serve all small blocks.
"""

import json
import sys

rounds = int(sys.argv[1])
check = 0
for turn in range(rounds):
    records = [
        {"id": i, "name": f"name-{i * 7919 % 10007}", "tags": [str(i % k) for k in range(2, 7)], "score": i * 0.5}
        for i in range(6000)
    ]
    index = {}
    for record in records:
        index.setdefault(record["name"][-2:], []).append(record)
    records.sort(key=lambda record: (record["name"], -record["id"]))
    again = json.loads(json.dumps(records))
    words = " ".join(record["name"] for record in again).split()
    check += len(words) + len(index) + again[turn]["id"]
print("check", check, file=sys.stderr)
